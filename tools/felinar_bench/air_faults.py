"""What befalls a street: the power goes, a bridge dies, there is none for days."""

from __future__ import annotations

from felinar_sim.ether import FLOOR_DBM, LIMIT_DB

from felinar_bench.air_lamp import NODE_DBM, Bridge, Lamp
from felinar_bench.air_street import Street

SPARE_DB = 3.0
"""What a link has above its limit that counts as one: at the limit itself every other frame spoils it."""
_SETTLE_S = 300.0
"""By then every lamp has given its bridge up."""


def cut(street: Street) -> None:
    """The power of all lamps goes and comes back at once."""
    for lamp in street.lamps:
        lamp.restart(street)
        street.watch(lamp, lamp.life)
    street.awake = set(range(len(street.lamps)))


def kill(street: Street, bridge: Bridge) -> None:
    """A bridge falls silent; who followed it looks for another, beacon by beacon from now on."""
    bridge.alive = False
    for lamp in street.lamps:
        if lamp.access.frame.bridge == bridge.frame.bridge:
            street.catch_up(lamp)
            street.awake.add(lamp.place)
            street.watch(lamp, lamp.life)


def outage(street: Street, seconds: float) -> None:
    """No bridge for so long (an hour and more); lamps make reports meanwhile, and what they knew of the chain is of no use."""
    for bridge in street.bridges:
        kill(street, bridge)
    street.run(_SETTLE_S)
    for lamp in street.lamps:
        lamp.life += 1  # nothing changes until somebody is heard
    street.run(seconds - _SETTLE_S)
    for bridge in street.bridges:
        street.revive(bridge)
    for lamp in street.lamps:
        street.watch(lamp, lamp.life)


def in_range(street: Street, lamp: Lamp, bridge: Bridge) -> bool:
    """Whether a bridge hears a lamp; the other way there is more power."""
    snr = NODE_DBM - street.ether.loss_db[lamp.station, bridge.station] - FLOOR_DBM
    return bool(snr >= LIMIT_DB[street.sf] + SPARE_DB)
