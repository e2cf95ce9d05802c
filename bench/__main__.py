"""`python -m bench`: see `bench.cli`."""

from bench.cli import main

if __name__ == "__main__":  # spawned workers import this module too
    main()
