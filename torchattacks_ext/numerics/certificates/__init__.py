"""What certificates are computed from: radii of Gaussian mixtures, norms of weight tensors."""
