"""`python -m aevb` is the command `aevb`."""

from aevb.cli import main

main()
