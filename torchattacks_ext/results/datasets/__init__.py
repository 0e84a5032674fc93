"""What is said of a data set as a whole: `audit` of its images, `budget` and `curve` of attacks."""
