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
    """`levels()` gives A-weighted mean squares, one per 125 ms, in batches of `batch` (default 8: one second)."""

    NAME = NAME
    FIELDS = ()

    def __init__(self, entry):
        self.sensitivity_db = entry.get("sensitivity_db", 120.0)
        self._batch = array("f", (0.0 for _ in range(entry.get("batch", 8))))
        self._next = 0

    async def start(self):
        self._next = simlink.uptime() + len(self._batch) * 125_000

    async def levels(self):
        batch = self._batch
        while True:
            wait = self._next - simlink.uptime()
            if wait <= 0:
                break
            await asyncio.sleep_ms(wait // 1000 + 1)
        first_end = self._next - (len(batch) - 1) * 125_000
        self._next += len(batch) * 125_000
        simlink.ask(_LEVELS, 0, first_end, len(batch) | int(self.sensitivity_db * 1000) << 8, None, batch)
        return batch
