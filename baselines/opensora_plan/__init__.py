"""OpenSoraPlan 1.2: method, transformer, causal autoencoder, miniature training."""
