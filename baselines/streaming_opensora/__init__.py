"""StreamingT2V on OpenSora's transformer, the paper's section 6."""
