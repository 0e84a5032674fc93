"""What is known of a run before it is run? Whether its plan file is right, and what it may cost."""
