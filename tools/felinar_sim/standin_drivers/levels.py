"""A driver for test boards: level statistics injected below the sound core, instead of samples from a microphone."""

import asyncio
from array import array

import simlink
from micropython import const

_LEVELS = const(9)

NAME = "levels"


def open(services, entry):
    return Levels(entry)


class Levels:
    """`levels()` gives A-weighted mean squares in batches of `batch` (default 8), one per `block_ms` (default 125).

    A longer block has the mean of its blocks of 125 ms; up to 375 ms the node has enough of them.
    """

    NAME = NAME
    FIELDS = ()

    def __init__(self, entry):
        self.sensitivity_db = entry.get("sensitivity_db", 120.0)
        self._batch = array("f", (0.0 for _ in range(entry.get("batch", 8))))
        self._each = entry.get("block_ms", 125) // 125
        self._next = 0

    async def start(self):
        self._next = simlink.uptime() + len(self._batch) * self._each * 125_000

    async def levels(self):
        batch = self._batch
        while True:
            wait = self._next - simlink.uptime()
            if wait <= 0:
                break
            await asyncio.sleep_ms(wait // 1000 + 1)
        span = len(batch) * self._each * 125_000
        first_end = self._next - span + 125_000
        self._next += span
        simlink.ask(_LEVELS, self._each, first_end, len(batch) | int(self.sensitivity_db * 1000) << 8, None, batch)
        return batch
