"""What is said of a data set as a whole: `audit` of its images, `budget` of its robustness."""
