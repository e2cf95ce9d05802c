"""DynamiCrafter-XL: method, network, resampler, miniature training."""
