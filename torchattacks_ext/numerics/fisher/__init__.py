"""The input Fisher information of one image: its top eigenvalue and what that bounds.

`factor` writes it without loss where the softmax saturates; `gram` (few classes, exact), `lanczos`
(many) and `dense` (the Jacobian in memory) find the top, `top` chooses; `spectral` is what they
share. `ball` bounds the divergence in a ball, `smooth` takes the mean over noise, `blackbox` asks
scores only.
"""
