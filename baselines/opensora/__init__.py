"""OpenSora 1.2: method, transformer, autoencoder, rectified flow, miniature training."""
