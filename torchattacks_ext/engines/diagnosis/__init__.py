"""What do a model and the paths of attacks on it show of masked gradients? Columns, row by row.

`settings` say what is run; `before` looks at answers and gradients, `paths` runs attacks and keeps
what their queries said, `transfer` the same on surrogates; `rows` puts it together for one batch.
"""
