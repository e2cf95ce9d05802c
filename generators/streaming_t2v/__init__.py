"""StreamingT2V (arXiv 2403.14773), the reference method."""
