"""What do stages about the whole data set tell? `told` is a table a stage; `ood`, `shift`,
`findings` of an audit, and `cost` of all stages say what is in it.
"""
