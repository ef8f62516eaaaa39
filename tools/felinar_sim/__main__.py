"""python -m felinar_sim: the same as the command felinar-sim."""

from felinar_sim.cli import main

main()
