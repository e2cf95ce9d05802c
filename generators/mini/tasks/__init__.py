"""What each miniature network learns: one file per network, all driven by `generators.mini.training`."""
