"""Who is on a street of medium-access cores: lamps and bridges, and where they stand."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING

import numpy as np
from felinar_air import host, node, plan
from felinar_sim.ether import Crystal, Ether
from felinar_wire import schema, tesla
from felinar_wire.session import Session
from numpy.typing import NDArray

if TYPE_CHECKING:
    from felinar_bench.air_street import Street

FIRST = 1000 * tesla.DAY
"""The interval in which a street's time begins; a day's chain begins with it, and a slot cycle."""
BASE = FIRST * tesla.INTERVAL
PERIOD = 300
"""Seconds between reports."""
NODE_DBM = 14.0
BRIDGE_DBM = 27.0
TURN_US = 25_000
"""From the end of a command to the beginning of its answer: a lamp opens, decodes, switches and seals."""
RELAY_US = 30_000
"""From the end of a command until the contacts have moved."""
JOIN, ACC, COMMAND, RESULT, GROUP, EVENT, ACK = 19, 39, 23, 18, 29, 20, 23
"""Bytes of frames that are modelled by their size."""
KEPT = 64
"""Intervals for which beacons are remembered."""

Mask = NDArray[np.bool_]


def place(rng: random.Random, ether: Ether, near: int, radius: float, least: float) -> tuple[float, float]:
    """Where the next station may stand within `radius` of another so that the gain of the way, in dB, is at least that."""
    x0, y0, gain = ether.places[near]
    shadow = float(ether.shadow_db(len(ether.places))[near])
    while True:
        x, y = rng.uniform(-radius, radius), rng.uniform(-radius, radius)
        distance = math.hypot(x, y)
        if 1 < distance <= radius and gain - ether.way_db(distance) - shadow >= least:
            return x0 + x, y0 + y


class Lamp:
    """A node: its access, its clock, its reports, and what the host holds of it."""

    def __init__(self, street: Street, place: int, address: int, x: float, y: float) -> None:
        rng = street.rng
        self.place = place
        self.address = address
        self.crystal = Crystal(int(rng.gauss(0, 8000)), rng.randrange(1_000_000_000))
        self.access = node.Access(address, rng.randbytes, street.counts, (street.sf,))
        self.station = street.ether.station(x, y)
        self.base: tuple[int, schema.Values] | None = None
        self.pending: list[int] = []
        self.made = 0
        self.kept = 0
        """The most that was pending."""
        self.stored: set[int] = set()
        self.known: dict[int, schema.Values] = {}
        self.asks = 0
        """Own time of the JOIN_REQ that is planned."""
        self.life = 0
        """Counts starts and joins; what was planned before one does not happen."""
        up, down = rng.randbytes(16), rng.randbytes(16)
        counts: dict[str, int] = {}
        self.up = Session(self.address, up, down, schema.crc, counts)
        self.host = Session(self.address, down, up, schema.crc, counts)

    def restart(self, street: Street) -> None:
        """The power was gone: it knows nothing but what is in its outbox."""
        self.access = node.Access(self.address, street.rng.randbytes, street.counts, (street.sf,))
        self.base = None
        self.life += 1


class Bridge:
    """A radio that transmits when it is told to and otherwise listens to its uplink channel."""

    def __init__(self, street: Street, number: int, x: float, y: float) -> None:
        self.frame = plan.Superframe(street.sf, number)
        self.slots = host.Slots(self.frame)
        self.down = host.Downlink(self.slots, street.counts)
        self.station = street.ether.station(x, y, 2.0)
        self.alive = True
        self.due = -1
        self.beacons: dict[int, list[tuple[int, bytes, int, Mask]]] = {}
        """By interval: counter, body, when it began (us), who heard it."""
