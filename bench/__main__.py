"""`python -m bench`: see `bench.cli`."""

import sys

from bench.shadowing import hidden_by

if __name__ == "__main__":  # spawned workers import this module too
    if hidden := hidden_by():
        sys.exit(f"error: {hidden}")
    from bench.cli import main

    main()
