"""The lamp node put together: what is fitted is sampled, what was sampled is reported, and the lamp is lit at night."""

import asyncio
import gc

import machine
import micropython
from felinar_wire import codec, schema
from micropython import const

from node import board as boards
from node.config import Config
from node.health import Health
from node.lighting import Lighting
from node.line import Line
from node.outbox import Outbox, OutboxError
from node.period import Period
from node.sampler import Sensor
from node.uplink import Uplink

_HOUR = const(3600)
_IDLE_S = const(10)

_running = None


def light() -> None:
    """Light the lamp, whatever else is broken."""
    if _running:
        _running.lamp.output(100)


class App:
    """One node. The lamp is lit before anything else is looked at."""

    def __init__(self) -> None:
        global _running
        board = self.board = boards.Board(boards.find("board.json") or {})
        self.lamp = Lighting(board, self.event, machine.unique_id())
        _running = self
        self.clock = board.clock
        self.config = Config(boards.find("config.json"))
        self.lamp.use(self.config)
        self.outbox = Outbox(boards.partition("outbox"))
        self.health = Health(self.outbox.last_boot)
        self.boot = self.health.boot
        self.lamp.keep(self.health._store)
        self.seq = 0  # of the last kept message of this boot
        self.refused = 0  # kept messages that the flash did not take
        self._told = 0  # drops that an event has told of
        self._told_at = -_HOUR
        self._report_s = self.config.report_s
        self._reported = -1  # time of the last report that has one
        self._slot = None  # the period under way: its number, by wall clock or uptime
        self.period = Period()
        self.period.turn = self._turn
        self.sensors = board.sensors = [Sensor(i, entry, board, self.period, self.event) for i, entry in enumerate(board.fitted)]
        self.line = Line(board, self._take)
        self.uplink = Uplink(self, self.line.send, machine.unique_id())

    # Kept messages

    def _keep(self, kind: int, values: list) -> None:
        self.seq += 1
        try:
            self.outbox.append(kind, self.seq, self.boot, codec.encode(kind, values))
        except OutboxError:
            self.refused += 1
        self.uplink.step()

    def event(self, code: int, argument: int) -> None:
        """Keep an EVENT; the argument is cut to 16 bits."""
        argument = max(-32768, min(32767, argument))
        self._keep(schema.EVENT, [self.clock.now(), self.clock.up(), code, argument])

    @property
    def policy(self):
        return self.lamp.policy

    @property
    def dropped(self) -> int:
        return self.outbox.dropped + self.refused

    def _report(self, time) -> None:
        """Close the period and keep its report; `time` is its end."""
        gc.collect()
        values = self.period.close(self._report_s)
        up = self.clock.up()
        if time is not None:
            self._reported = time
        values[0] = time
        now = self.clock.now()
        values[1] = up if time is None or now is None else up - now + time
        values[_DIM] = level = self.policy.level
        values[_DOUBT] = self.period.doubt
        values[_RELAY] = int(level > 0)
        self._keep(schema.REPORT, values)
        dropped = self.dropped
        if dropped > self._told and up - self._told_at >= _HOUR:
            self.event(schema.EVENT_DROPPED, dropped - self._told)
            self._told = dropped
            self._told_at = up

    # What the host asks

    def set_clock(self, time: int, ms: int) -> bool:
        step = self.clock.set(time, ms)
        if step is None:
            return False
        self.policy.set_at = self.clock.up()
        if step < -1 or step > 1:
            self._slot = None
            if self._report_s and self.clock.now() % self._report_s < self.clock.up() - (self.period.values[1] or 0):
                self._report(None)  # what was read before the period began that the new time is in
            self.event(schema.EVENT_CLOCK_SET, step)
        return True

    def override(self, mode: int, level: int, ttl: int, fade: int) -> None:
        up = self.clock.up()
        self.policy.override(mode, level, ttl, fade, up)
        self.lamp.step(up, self.clock.now(), self.sensors)

    def set_period(self, seconds: int) -> None:
        """Report every so many seconds until the next boot; 0 reports what there is and stops sampling."""
        if not seconds and self._report_s:
            for sensor in self.sensors:
                sensor.end()
            time = self.clock.now()
            if time is None or time > self._reported:  # else the period has only just begun
                self._report(time)
        elif seconds and not self._report_s:
            self._start_sensors()
        self._report_s = seconds
        self._slot = None

    def health_values(self) -> list:
        """The fields of HEALTH, numbers beyond their range cut to it."""
        gc.collect()
        outbox = self.outbox
        errors = sum(sensor.errors for sensor in self.sensors)
        bad = self.line.bad + self.uplink.bad
        values = [
            self.clock.up(),
            self.boot,
            self.seq,
            self.dropped,
            outbox.pending,
            bad,
            errors,
            gc.mem_free(),
            outbox.free,
        ]
        values += [None] * (len(schema.fields(schema.HEALTH)) - len(values))
        for i in range(4, 9):
            if i != 7:
                values[i] = min(values[i], 65535)
        return values

    # Running

    def _start_sensors(self) -> None:
        up = self.clock.up()
        for sensor in self.sensors:
            sensor.begin(up)

    def _take(self, data: bytes) -> None:
        self.uplink.take(data)

    def _turn(self) -> None:
        """Close a period that is over."""
        up = self.clock.up()
        time = self.clock.now()
        if self._report_s:
            now = up if time is None else time
            slot = now // self._report_s
            if self._slot is None:
                self._slot = slot
            elif slot > self._slot:
                self._slot = slot
                self._report(None if time is None else slot * self._report_s)

    def _work(self) -> None:
        up = self.clock.up()
        time = self.clock.now()
        self.lamp.step(up, time, self.sensors)
        self._turn()
        if self._report_s:
            for sensor in self.sensors:
                sensor.watch(up)
        self.uplink.step()
        self.outbox.tidy()
        if not self._talking.done():
            self.health.feed(up)

    async def _tick(self) -> None:
        while True:
            self._work()
            await asyncio.sleep_ms(self._rest() * 1000 + 1 - self.clock.ms())

    def _rest(self) -> int:
        """Seconds until there is something to do: every second while something is under way, else every ten."""
        policy = self.policy
        if policy.mode or not policy.steady or self.uplink.busy:
            return 1
        time = self.clock.now()
        now = self.clock.up() if time is None else time
        rest = _IDLE_S - now % _IDLE_S
        return min(rest, self._report_s - now % self._report_s) if self._report_s else rest

    async def _guard(self, work) -> None:
        """Run a task for ever; a crash is told and the task begins again."""
        crashes = 0
        while True:
            began = self.clock.up()
            try:
                await work()
            except Exception:
                gc.collect()
                crashes = 1 if self.clock.up() - began >= _HOUR else crashes + 1
                try:
                    self.event(schema.EVENT_CRASH, crashes)
                except Exception:  # the crash may have been in what tells of it
                    self.refused += 1
            await asyncio.sleep(1 << min(crashes, 9))

    async def run(self) -> None:
        health = self.health
        asyncio.get_event_loop().set_exception_handler(self._unseen)
        self.event(schema.EVENT_BOOT, health.reset)
        if health.crashes:
            self.event(schema.EVENT_CRASH, health.crashes)
        if self.config.bad:
            self.event(schema.EVENT_BAD_CONFIG, len(self.config.bad))
        self._start_sensors()
        self._talking = asyncio.create_task(self._guard(self.line.run))
        await self._guard(self._tick)

    def _unseen(self, loop, context) -> None:
        self.refused += 1


_RELAY = schema.index(schema.REPORT, "relay")
_DIM = schema.index(schema.REPORT, "dim")
_DOUBT = schema.index(schema.REPORT, "doubt")


def main() -> None:
    """Run the node; returns only by an exception."""
    micropython.kbd_intr(-1)
    asyncio.run(App().run())
