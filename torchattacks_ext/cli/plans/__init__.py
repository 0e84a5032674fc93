"""What is run? The command `plan`, plans made of flags and files, the facts of a dry run."""
