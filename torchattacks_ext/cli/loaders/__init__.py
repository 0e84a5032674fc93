"""Models by name: what a command line says becomes a model, and what is known of it.

`inputs` brings model and data together; `loading` sends a spec to the way that reads it:
`factories` call what the user wrote, `checkpoints` and `tensors` read weights (with `harmless`
settings beside them), which `filling` holds against the model; `vision`, `image_models` and `hub`
build published ones from a `cache`, `names` says how their outputs are called.
"""
