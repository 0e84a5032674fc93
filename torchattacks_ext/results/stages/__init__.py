"""The stages of an evaluation: what each gave (`report`), their worst case, the pictures shown."""
