"""Whom does one cite for `monitor`?"""

CITATION = """@article{gretton2012kernel,
  author  = {Gretton, Arthur and Borgwardt, Karsten M. and Rasch, Malte J. and
             Sch{\\"o}lkopf, Bernhard and
             Smola, Alexander},
  title   = {A Kernel Two-Sample Test},
  journal = {Journal of Machine Learning Research},
  volume  = {13},
  pages   = {723--773},
  year    = {2012}
}
@inproceedings{vovk2003testing,
  author    = {Vovk, Vladimir and Nouretdinov, Ilia and Gammerman, Alexander},
  title     = {Testing Exchangeability On-Line},
  booktitle = {International Conference on Machine Learning},
  year      = {2003}
}
@inproceedings{vovk2021retrain,
  author    = {Vovk, Vladimir and Petej, Ivan and Nouretdinov, Ilia and Ahlberg, Ernst and
               Carlsson, Lars and Gammerman, Alex},
  title     = {Retrain or Not Retrain: Conformal Test Martingales for Change-Point Detection},
  booktitle = {Conformal and Probabilistic Prediction and Applications},
  series    = {PMLR},
  volume    = {152},
  year      = {2021},
  note      = {arXiv:2102.10439}
}
@article{massart1990tight,
  author  = {Massart, Pascal},
  title   = {The Tight Constant in the {Dvoretzky}--{Kiefer}--{Wolfowitz} Inequality},
  journal = {The Annals of Probability},
  volume  = {18},
  number  = {3},
  pages   = {1269--1283},
  year    = {1990}
}"""
"""BibTeX."""
