"""How fast commands get through: one lamp, all on, and dim by TESLA, in a street that reports meanwhile."""

from __future__ import annotations

from typing import Any

import numpy as np
from felinar.air.orders import GROUP_MS, GROUP_REPEATS
from felinar.keys.broadcast import tagged
from felinar_air import host, plan

from felinar_bench.air_lamp import BASE, GROUP, RELAY_US, Bridge, Mask
from felinar_bench.air_street import Street

AIR_MS = 70
"""Of a group command at SF7, and between its bridge's decision and its end."""
PROOF_US = 40_000
"""From the end of a beacon until a lamp has verified what the key in it opens, and switched."""


def one(street: Street, times: int) -> tuple[list[float], list[float]]:
    """(seconds to the relay, seconds to the acknowledgement) of LAMP_SETs to `times` lamps at random moments."""
    relay: dict[int, float] = {}
    answer: dict[int, float] = {}
    started: dict[int, int] = {}

    def ear(when: int, bridge: Bridge, what: Any, mask: Mask, n: int) -> None:
        if isinstance(what, tuple) and what[0] == "switched":
            relay.setdefault(what[2], (when - started[what[2]]) / 1e6)

    street.ears.append(ear)
    for number in range(times):
        street.run(street.rng.uniform(2, 12))
        lamp = street.rng.choice(street.lamps)
        started[number] = street.now

        def done(when: int, place: int, number: int = number) -> None:
            answer.setdefault(number, (when - started[number]) / 1e6)

        street.command(lamp, done, number)
    street.run(30)
    street.ears.remove(ear)
    return [relay.get(i, 60.0) for i in range(times)], [answer.get(i, 60.0) for i in range(times)]


def group(street: Street, on: bool) -> tuple[np.ndarray[Any, np.dtype[np.float64]], int]:
    """(seconds until each lamp has switched, how many took an "on" back) of a GROUP_LAMP at a random moment.

    "On" acts as it comes and is to be confirmed; "dim" acts when the key of its tag, which is out one or two intervals later, has proven it.
    """
    street.run(street.rng.uniform(1, 11))
    lamps = len(street.lamps)
    start = street.now
    when = np.full(lamps, np.inf)
    first = np.zeros(lamps, np.int64)
    held: dict[int, Mask] = {}
    proven = np.zeros(lamps, np.bool_)
    key = ("group", -1, start)

    def ear(at: int, bridge: Bridge, what: Any, mask: Mask, n: int) -> None:
        if what == key:
            n = tagged(BASE + at // 1000 - AIR_MS)
            new = mask & np.isinf(when)
            if on:
                when[new] = (at + RELAY_US - start) / 1e6
                first[new & (first == 0)] = n
            held[n] = held.get(n, np.zeros(lamps, np.bool_)) | mask
        elif isinstance(what, bytes):
            for m, who in held.items():
                if m + 2 <= n:
                    got = mask & who
                    if on:
                        # A lamp waits until 50 s after the interval of the frame it acted on for that frame's proof.
                        proven[got & (first == m) & (n < m + 5)] = True
                    else:
                        new = got & np.isinf(when)
                        when[new] = (at + PROOF_US - start) / 1e6

    street.ears.append(ear)
    ms = BASE + start // 1000
    priority = host.ALL if on else host.COMMAND
    for bridge in street.bridges:
        street.push(bridge, host.Item(priority, key, GROUP, ms, ms + GROUP_MS, GROUP_REPEATS))
    street.run(100)
    street.ears.remove(ear)
    return when, int(np.count_nonzero(~proven)) if on else 0


def settled(seed: int, nodes: int = 1000, sf: int = 7) -> Street:
    """A street whose nodes have been in their slots for a while."""
    street = Street(seed, nodes, sf)
    street.run(plan.CYCLE * plan.INTERVAL / 1000 + 30)
    return street
