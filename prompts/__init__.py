"""Prompt suites that travel with the package: data only, read by `bench.prompts`."""
