"""I2VGen-XL: method, released names, miniature training."""
