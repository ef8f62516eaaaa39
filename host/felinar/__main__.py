"""`python -m felinar` is the command line."""

from felinar.cli import main

main()
