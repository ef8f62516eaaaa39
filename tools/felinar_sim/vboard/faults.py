"""What can be wrong with a virtual board, as written on the command line."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from felinar_sim.errors import SimulatorError

HELP = "no-sync, no-download, dropout:BYTES[:SECONDS], wrong-chip, small-flash, bad-block:OFFSET, dead-radio"


@dataclass(slots=True)
class Faults:
    """The faults of one board."""

    no_sync: bool = False
    """The boot ROM hears nothing: a broken TX wire, a charging cable."""
    no_download: bool = False
    """IO0 is not wired: the chip starts from flash whatever the lines say."""
    dropout: int | None = None
    """After so many bytes towards the board the adapter drops out, once."""
    gone_s: float = 15.0
    """How long it stays away then. esptool looks for it for seven seconds, and goes on by itself when it comes back before."""
    wrong_chip: bool = False
    """The chip on the board is another one than the board was bought as."""
    small_flash: bool = False
    """The flash chip is the smaller one of the family, 2 MB."""
    bad_blocks: tuple[int, ...] = ()
    """Offsets of blocks that do not keep what is written."""
    dead_radio: bool = False
    """The radio does not answer: a broken wire, or a module without supply."""


def parse(faults: Iterable[str]) -> Faults:
    """Faults from their names: see `HELP`. Raises SimulatorError for others."""
    found = Faults()
    for text in faults:
        name, _, value = text.partition(":")
        if name in ("no-sync", "no-download", "wrong-chip", "small-flash", "dead-radio") and not value:
            setattr(found, name.replace("-", "_"), True)
            continue
        value, _, seconds = value.partition(":")
        try:
            number = int(value, 0)
            away = float(seconds or found.gone_s)
        except ValueError:
            number, away = -1, 0.0
        if name == "dropout" and number > 0 and away > 0:
            found.dropout, found.gone_s = number, away
        elif name == "bad-block" and number >= 0 and not seconds:
            found.bad_blocks += (number,)
        else:
            raise SimulatorError(f"no fault {text!r}; there are {HELP}")
    return found
