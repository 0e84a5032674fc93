"""What stands around a plan: threat models by name, profiles, templates, where a key stands.

Read `threats` and `profiles` first; `template` writes a profile as YAML with comments, `places`
reads a file and keeps its lines, `words` says what is wrong with a plan.
"""
