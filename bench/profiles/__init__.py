"""Profiles that travel with the package, as TOML: every value in them has its source in a comment."""
