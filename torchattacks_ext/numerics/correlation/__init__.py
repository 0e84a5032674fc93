"""How strongly do two columns go together? `columns`, bootstrapped on `weighted` ranks."""
