"""What MSA attacks: `surrogates` by name, all as `models`, heads that are `shared`."""
