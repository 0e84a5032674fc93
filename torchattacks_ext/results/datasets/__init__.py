"""What is said of a data set as a whole: `audit` of its images (with a row an image in `audited`),
`ood` and `shift` beside other sets, `budget` and `curve` of attacks.
"""
