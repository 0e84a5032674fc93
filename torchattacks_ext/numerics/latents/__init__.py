"""What shape should latents have, and how far are they from a boundary? Losses of encoders.

`losses`: isotropy, maximum mean discrepancy, coding rate. `boundary`: signed distances to the
boundaries of a Gaussian mixture, with gradients.
"""
