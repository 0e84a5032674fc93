"""Models by name: what a command line says becomes a model, and what is known of it.

`loading` sends a spec to the way that reads it: `factories` call what the user wrote, `checkpoints`
read weights (with `harmless` settings beside them), each further file one source.
"""
