"""Which number each configured bridge has: it tells its channel and when its superframe begins."""

from __future__ import annotations

from collections.abc import Sequence

from felinar_air.plan import BRIDGES, Superframe

from felinar.config import BridgeConfig
from felinar.errors import ConfigError


def numbers(bridges: Sequence[BridgeConfig]) -> list[int]:
    """The numbers of bridges in order: the one that is named, else the lowest free one with the channel that is named.

    Raises ConfigError: a number twice, one that has another channel, a channel that there is not, or too many bridges.
    """
    channels = {number: Superframe(7, number).uplink / 1000 for number in range(BRIDGES)}
    known = ", ".join(f"{mhz:g}" for mhz in sorted(set(channels.values())))
    taken: set[int] = set()
    for bridge in bridges:
        if bridge.frequency is not None and bridge.frequency not in channels.values():
            raise ConfigError(
                f"The bridge {bridge.name} can't hear on {bridge.frequency:g} MHz.", f"Channels are {known}."
            )
        if bridge.number is None:
            continue
        if bridge.number in taken:
            raise ConfigError(f"Two bridges have the number {bridge.number}.", "Give each a number of its own.")
        if bridge.frequency not in (None, channels[bridge.number]):
            raise ConfigError(
                f"The bridge {bridge.name} has number {bridge.number}, so it hears on {channels[bridge.number]:g} MHz.",
                "Leave out its number or its frequency.",
            )
        taken.add(bridge.number)
    out = []
    for bridge in bridges:
        number = bridge.number
        if number is None:
            free = [n for n in channels if n not in taken and bridge.frequency in (None, channels[n])]
            if not free:
                raise ConfigError(
                    f"There is no number left for the bridge {bridge.name}.", "12 bridges at most, 4 a channel."
                )
            number = free[0]
            taken.add(number)
        out.append(number)
    return out
