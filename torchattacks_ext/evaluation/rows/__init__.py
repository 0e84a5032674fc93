"""Which rows go through a stage at once, and what is known of them afterwards?

`lots` cuts the data, `pieces` are finished rows and gaps, `whole` puts them together.
"""
