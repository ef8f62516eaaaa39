"""The lamp node put together: what is fitted is sampled, what was sampled is reported, and the lamp is lit at night."""

import asyncio
import gc
import sys
from binascii import crc32

import machine
from felinar_wire import codec, schema
from micropython import const

from node import board as boards
from node.health import Health, Store
from node.lighting import Lighting
from node.outbox import Outbox, OutboxError
from node.period import Period
from node.sampler import Sensor

_HOUR = const(3600)
_DAY = const(86400)
_CALM_S = const(600)  # a node that has run so long has not crashed in a row
_IDLE_S = const(10)
_SETTLE_S = const(5)  # from the last change of the configuration to the restart that tries it
_ILL = const(6)  # crashes of a task in a row, or records in a row that the flash did not take
_LIGHT = ("bh1750", "veml7700")  # all that is read in safe mode

_SELDOM = ("config", "console", "past", "prove", "schedule", "settings")

_running = None


def light() -> None:
    """Light the lamp, whatever else is broken. Raises when nobody has begun to care for it."""
    _running.lamp.output(100)  # type: ignore[union-attr]


def let_go() -> None:
    """Forget the modules that are seldom needed, so that they take no memory until they are imported again."""
    for name in _SELDOM:
        if sys.modules.pop("node." + name, None):
            delattr(sys.modules["node"], name)
    gc.collect()


class App:
    """One node. The lamp is lit before anything else is looked at."""

    def __init__(self) -> None:
        global _running
        board = self.board = boards.Board(boards.parse(boards.find("board.json")) or {})
        self.lamp = Lighting(board, self.event, machine.unique_id())
        _running = self
        self.clock = board.clock
        from node import config, past, settings

        file = boards.find("config.json")
        self.settings = settings.begin(boards.partition("config"), crc32(file))
        text = settings.read(self.settings) or file
        self.config_crc = crc32(text) & 0xFFFF
        self.config = config.read(boards.parse(text))
        self.lamp.use(self.config)
        flash = boards.partition("outbox")
        if not flash:
            from node.ram import Ram

            flash = Ram()
        self.outbox = Outbox(flash)
        store = Store()
        self.health = Health(store, past.begin(store, self.outbox.last_boot))
        let_go()
        self.boot = self.health.boot
        self.lamp.keep(store)
        self.policy.safe = bool(self.health.safe)
        self.seq = 0  # of the last kept message of this boot
        self.refused = 0  # kept messages that the flash did not take
        self.failed = 0  # of these, in a row
        self._ill: dict = {}  # crashes in a row by task
        self._stop_at = 0  # uptime of a restart, 0 none
        self._stop = (0, 0)
        self._calm = not self.health.crashes
        self.heap_low = 0
        self._told = 0  # drops that an event has told of
        self._told_at = -_HOUR
        self._report_s = self.config.report_s
        self._reported = -1  # time of the last report that has one
        self._slot = None  # the period under way: its number, by wall clock or uptime
        self.period = Period()
        self.period.turn = self._turn
        self.sensors = board.sensors = [
            Sensor(i, entry, board, self.period, self.event)
            for i, entry in enumerate(board.fitted)
            if not self.health.safe or entry["driver"] in _LIGHT
        ]
        if board.line["type"] == "radio":
            from node import radio as way
        else:
            from node import uplink as way
        # What is long is loaded and made while there is room in one piece.
        for sensor in self.sensors:
            sensor.open()
        self.line, self.uplink = way.open(self)

    # Kept messages

    def _keep(self, kind: int, values: list) -> None:
        self.seq += 1
        body = codec.encode(kind, values)
        try:
            self.outbox.append(kind, self.seq, self.boot, body)
            self.failed = 0
        except OutboxError:
            self.refused += 1
            self.failed += 1
        self.uplink.step(kind, body)

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
        self.heap()
        values = self.period.close(self._report_s)
        up = self.clock.up()
        if time is not None:
            self._reported = time
        values[0] = time
        now = self.clock.now()
        values[1] = up if time is None or now is None else up - now + time
        values[_DIM] = level = self.policy.level
        values[_RELAY] = int(level > 0)
        self._keep(schema.REPORT, values)
        dropped = self.dropped
        if dropped > self._told and up - self._told_at >= _HOUR:
            self.event(schema.EVENT_DROPPED, dropped - self._told)
            self._told = dropped
            self._told_at = up

    def heap(self) -> int:
        """Bytes of heap that are free once all that nobody needs is gone."""
        gc.collect()
        free = gc.mem_free()
        self.heap_low = min(free, self.heap_low or free)
        return free

    # What the host asks

    def set_clock(self, time: int, ms: int) -> bool:
        step = self.clock.set(time, ms)
        if step is None:
            return False
        self.policy.set_at = self.clock.up()
        if step < -1 or step > 1:
            self._slot = None
            if self._report_s and time % self._report_s < self.clock.up() - (self.period.values[1] or 0):
                self._report(None)  # what was read before the period began that the new time is in
            self.event(schema.EVENT_CLOCK_SET, step)
        self._tell(True)
        return True

    def _tell(self, kept=None) -> None:
        """End a trial of the configuration, if there is one, and keep what has become of it."""
        state = self.settings
        if state[0] if kept is not None else state[1]:
            from node import settings

            if kept is not None:
                settings.end(state, kept)
            if state[1]:
                self.event(state[1], state[2] - (state[2] >> 15 << 16))
                settings.told(state)
            let_go()

    def change(self, what) -> int:
        """Try another configuration, as node.settings.change has it; returns a RESULT code."""
        from node import settings

        try:
            code = settings.change(self.settings, what, boards.find)
        except MemoryError:
            code = schema.RESULT_REFUSED
        let_go()
        if code == schema.RESULT_APPLIED:
            self.stop(0)
        return code

    def config_text(self):
        """The newest configuration's JSON."""
        from node import settings

        text = settings.read(self.settings) or boards.find("config.json")
        let_go()
        return text

    def stop(self, safe: int, cause: int = schema.RESET_SOFT) -> None:
        """Restart in a moment, for that cause, into safe mode or not."""
        self._stop_at = self.clock.up() + _SETTLE_S
        self._stop = (cause, safe)

    def set_safe(self, safe: int) -> None:
        """Enter safe mode, or leave it."""
        if safe != self.health.safe:
            self.stop(safe)

    def override(self, mode: int, level: int, ttl: int, fade: int, reason: int = 0) -> None:
        up = self.clock.up()
        self.policy.override(mode, level, ttl, fade, up, reason)
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
        outbox = self.outbox
        health = self.health
        lamp = self.lamp
        values = (
            self.clock.up(),
            self.boot,
            self.seq,
            self.dropped,
            outbox.pending,
            self.line.bad + self.uplink.bad,
            sum(sensor.errors for sensor in self.sensors),
            self.heap(),
            outbox.free,
            self.heap_low,
            self.clock.drift,
            outbox.erases,
            lamp.switches,
            lamp.lit_s // _HOUR,
            health.crashes,
            health.safe,
            self.config_crc,
            self.settings[0],
        )
        table = schema.fields(schema.HEALTH)
        return [value if value is None else max(field[4], min(field[5], value)) for value, field in zip(values, table)]  # noqa: B905 (MicroPython knows no strict)

    # Running

    def _start_sensors(self) -> None:
        up = self.clock.up()
        for sensor in self.sensors:
            sensor.begin(up)

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
        health = self.health
        if self.settings[0] and up >= self.config.trial_s:
            self._tell(False)
            self.stop(health.safe)
        if health.safe and up >= _DAY and not self._stop_at:
            self.set_safe(0)
        if self._stop_at and up >= self._stop_at:
            from node import past

            past.restart(self, *self._stop)
        # A flash that fails is no reason to go on restarting: in safe mode it no longer counts.
        if max(self._ill.values()) < _ILL and (self.failed < _ILL or health.safe):
            health.feed()
        if up >= _CALM_S and not self._calm:
            self._calm = True
            from node import past

            past.calm()
            let_go()

    async def _tick(self) -> None:
        while True:
            self._work()
            await asyncio.sleep_ms(self._rest() * 1000 + 1 - self.clock.ms())

    def _rest(self) -> int:
        """Seconds until there is something to do: every second while something is under way, else every ten."""
        policy = self.policy
        if self._stop_at or policy.mode or not policy.steady or self.uplink.busy:
            return 1
        time = self.clock.now()
        now = self.clock.up() if time is None else time
        rest = _IDLE_S - now % _IDLE_S
        return min(rest, self._report_s - now % self._report_s) if self._report_s else rest

    async def _guard(self, name: str, work, argument=None) -> None:
        """Run a task for ever; a crash is told and the task begins again."""
        ill = self._ill
        ill[name] = 0
        while True:
            began = self.clock.up()
            try:
                await (work(argument) if argument else work())
            except Exception as error:
                gc.collect()
                self.health.crashes += 1
                ill[name] = 1 if self.clock.up() - began >= _HOUR else ill[name] + 1
                try:
                    self.event(schema.EVENT_CRASH, ill[name])
                    from node import past

                    self.event(schema.EVENT_CRASH, past.note(error))
                    let_go()
                except Exception:  # the crash may have been in what tells of it
                    self.refused += 1
            await asyncio.sleep(1 << min(ill[name], 9))

    async def run(self) -> None:
        asyncio.get_event_loop().set_exception_handler(self._unseen)
        from node import past

        past.tell(self)
        let_go()
        self._tell()
        if self.config.bad:
            self.event(schema.EVENT_BAD_CONFIG, len(self.config.bad))
        self._start_sensors()
        tasks = [asyncio.create_task(self._guard("line", self.line.run))]
        if self.board.has("led"):
            from node import led

            tasks.append(asyncio.create_task(self._guard("led", led.run, self)))
        await self._guard("tick", self._tick)

    def _unseen(self, loop, context) -> None:
        self.refused += 1


_RELAY = schema.index(schema.REPORT, "relay")
_DIM = schema.index(schema.REPORT, "dim")


def main() -> None:
    """Run the node; returns only by an exception."""
    asyncio.run(App().run())
