"""Training of the baselines' miniature networks, each with its own conditioning mechanism and the same budget."""
