"""Published values that travel with the package: data only, read by `bench.report.published`."""
