"""Torch networks of the baselines that no library ships, one file per paper box."""
