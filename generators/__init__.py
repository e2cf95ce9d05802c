"""Generators: the contract of a method, the shared first chunk and the reference method."""
