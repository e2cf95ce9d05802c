"""The systems of Table 1 and the floors, one file each, behind the contract of `generators.api`."""
