"""What a random test says: `claims` about the data set, `groups`, `histograms` over images."""
