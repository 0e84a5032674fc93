"""Where do the score and the step along its eigenvector come from? BibTeX."""

CITATION = """@misc{srp2026,
  title         = {Input Fisher Information Spectral Norm as an Attack-free Robustness Measure},
  year          = {2026},
  eprint        = {2606.04767},
  archivePrefix = {arXiv},
  note          = {arXiv:2606.04767}
}
@inproceedings{zhao2019ossa,
  author    = {Zhao, Chenxiao and Fletcher, P. Thomas and Yu, Mixue and Peng, Yaxin and
               Zhang, Guixu and Shen, Chaomin},
  title     = {The Adversarial Attack and Detection under the {Fisher} Information Metric},
  booktitle = {AAAI},
  year      = {2019}
}"""
