"""Is a data set sound? `audit` asks, `scan` reads a split once, `copies` compares the splits."""
