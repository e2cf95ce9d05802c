"""Measurements about the project itself: miniature networks, endurance, operations, ablations."""
