"""Virtual boards: what `felinar-sim board` runs, and what tests and benchmarks flash. `VirtualBoard` is all that is needed from here."""

from felinar_sim.vboard.virtual import VirtualBoard

__all__ = ["VirtualBoard"]
