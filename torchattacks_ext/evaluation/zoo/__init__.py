"""The zoo of torchattacks: its attacks (`catalogue`) and what is known of each (`table`); others by name (`foreign`)."""
