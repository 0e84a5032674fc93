"""What do noisy answers prove about an image? Randomised smoothing as arithmetic of counts.

`cohen`: a radius from counts of a fixed number of draws. `early`: draws that stop when one radius
is decided. `functional`: smoothed numbers instead of votes.
"""
