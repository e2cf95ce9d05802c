"""The miniature world: a procedural captioned world and the small networks trained on it."""
