"""Do two pictures show the same? `features` of small grey copies, `pairs` of them in blocks."""
