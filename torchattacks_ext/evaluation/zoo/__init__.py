"""The zoo: attacks of torchattacks (`catalogue`), what is known of them (`table`), and others.

`foreign` finds any class by its name.
"""
