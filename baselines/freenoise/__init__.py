"""FreeNoise, on VideoCrafter2 and on AnimateDiff: methods, what it adds to a network, miniature training."""
