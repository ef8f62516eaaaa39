"""Reads what is fitted: each sensor in a task of its own, restarted with growing patience when it fails."""

import asyncio
import gc
from time import ticks_diff

from drivers import FAULT, RANGE, DriverError
from felinar_wire import schema
from micropython import const

from node.doubt import Doubt

_START_S = const(20)  # longest start and read that a driver may take
_LONGEST_S = const(60)  # longest wait before a dead sensor is tried again
_LOST_AFTER = const(3)  # failures in a row
_QUIET_S = const(600)  # a sensor that comes and goes is told of no more often
_DOUBT_MS = const(600000)  # how long a sensor is in doubt before it is told
# schema.EVENT_SENSOR_LOST, _BACK and _DOUBT
_LOST = const(5)
_BACK = const(6)
_DOUBT = const(20)


class Sensor:
    """One entry of the board file. `errors` counts its failures.

    `value` is its newest reading by field name, None for what is missing or in doubt.
    """

    def __init__(self, index: int, entry: dict, board, period, on_change) -> None:
        self._index = index
        self._entry = entry
        self._board = board
        self._period = period
        self._on_change = on_change  # called with (event code, index)
        self._device = None
        self._row = 0  # failures in a row
        self._lost_at = -_QUIET_S  # uptime when its loss was told
        self._lost = 0  # what the host believes: 0 all is well, else the code of the event
        self._doubt = None
        self._task = None
        self._due = 0  # uptime by which the driver must have come back
        self.errors = 0
        self.value: dict = {}

    def open(self) -> None:
        """Load the driver and what it needs. What fails is tried again, and told, when sampling begins."""
        name = self._entry["driver"]
        try:
            self._device = self._device or getattr(__import__("drivers." + name), name).open(self._board, self._entry)
        except Exception:
            gc.collect()

    def begin(self, up: int, wait_s: int = 0) -> None:
        """Start sampling, after a while."""
        self._extend(wait_s)
        self._task = asyncio.create_task(self._run(wait_s))

    def end(self) -> None:
        """Stop sampling."""
        if self._task:
            self._task.cancel()
            self._task = None

    def watch(self, up: int) -> None:
        """Start it again when its driver has not come back in time or its task has ended."""
        if self._task and (up > self._due or self._task.done()):
            self.end()
            self._failed()
            self.begin(up, self._patience())

    def _patience(self) -> int:
        return min(1 << min(self._row, 6), _LONGEST_S)

    def _failed(self) -> None:
        self.errors += 1
        self._row += 1
        self.value.clear()
        up = self._board.up()
        if self._row >= _LOST_AFTER and up - self._lost_at >= _QUIET_S:
            self._lost_at = up
            self._tell(_LOST)

    def _worked(self) -> None:
        self._row = 0
        doubt = self._doubt
        self._tell(_DOUBT if doubt and doubt.long * doubt.every > _DOUBT_MS else 0)

    def _tell(self, code: int) -> None:
        if code != self._lost:
            self._lost = code
            self._on_change(code or _BACK, self._index)

    async def _run(self, wait_s: int) -> None:
        while True:
            await asyncio.sleep(wait_s)
            try:
                await self._sample()
            except Exception:  # whatever a driver raises, the other sensors go on
                self._failed()
            wait_s = self._patience()
            self._extend(wait_s)

    def _extend(self, seconds: int) -> None:
        self._due = self._board.up() + seconds + _START_S

    async def _sample(self) -> None:
        """From start to the second failure in a row."""
        self.open()
        device = self._device
        if not device:
            raise DriverError(FAULT)
        self._extend(0)
        await device.start()
        if hasattr(device, "levels"):
            await self._listen(device)
        names = device.FIELDS
        places = [schema.index(schema.REPORT, name) for name in names]
        period_ms = self._entry.get("period_ms", device.PERIOD_MS)
        doubt = self._doubt
        if not doubt:
            doubt = self._doubt = Doubt(places, period_ms)
            self._period.doubts.append(doubt)
        warm = self._board.up() + getattr(device, "WARM_UP_MS", 0) // 1000
        failures = 0
        while True:
            self._extend(0)
            began = self._board.ticks_ms()
            out: list = [None] * len(names)
            try:
                await device.read(out)
            except DriverError as error:
                if error.reason != RANGE:  # beyond its range is not broken
                    failures += 1
                    if failures > 1:
                        raise
                    self._failed()
                self.value.clear()
            else:
                failures = 0
                if self._board.up() >= warm:
                    self._period.turn()
                    doubtful = doubt.judge(out, self._board.latest("rh"), getattr(device, "unsure", 0))
                    for i in range(len(out)):
                        self._period.add(places[i], out[i])
                        self.value[names[i]] = None if doubtful else out[i]
                self._worked()
            wait = max(20, period_ms - ticks_diff(self._board.ticks_ms(), began))
            self._extend(wait // 1000)
            await asyncio.sleep_ms(wait)

    async def _listen(self, device) -> None:
        from node.levels import Levels

        levels = self._period.levels
        if levels is None:
            levels = self._period.levels = Levels(device.sensitivity_db)
        while True:
            self._extend(0)
            await levels.listen(device)
            self._worked()
