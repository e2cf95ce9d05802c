"""SEINE: method, network, sampler, miniature training."""
