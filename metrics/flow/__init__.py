"""Optical flow: estimators behind one protocol, released weights, warping."""
