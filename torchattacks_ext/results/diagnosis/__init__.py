"""May the numbers of gradient attacks be believed? Checks as data, and a verdict.

`check` is one of them, `rules` make them of columns and name causes, `diagnosis` is the result.
"""
