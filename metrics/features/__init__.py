"""What several metrics read from the same frames, computed once per video."""
