"""Optical flow: estimators behind one protocol, released weights, warping."""

VBENCH_ESTIMATORS = ("raft_large", "mini")
"""Estimators that the dynamic degree and its static filter take; the latter stands in for the network VBench names."""
