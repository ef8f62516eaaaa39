"""The lamp as a whole: what the policy decides goes to relay and dimmer, what changes is told, what is used is counted."""

import asyncio

from drivers.dimmer import Dimmer
from drivers.relay import Relay
from felinar_wire import schema
from micropython import const

from node.lamp import Policy
from node.verdict import Verdict

_SAVE_S = const(86400)
_FIRST_S = const(21600)  # a node whose mains comes only at night saves its counts as well
_SAVE_N = const(64)
_GAP_S = const(600)


class Lighting:
    """Lit from the first moment: made before anything else is looked at, and lit again by whatever fails in `step`."""

    def __init__(self, board, event, uid: bytes = b"\0\0") -> None:
        """`event(code, argument)` keeps an EVENT; from `uid` comes how much, up to 1 s, this lamp lights up later."""
        self.relay = Relay(board, "relay", board.normally_closed) if board.has("relay") else None
        self.dimmer = Dimmer(board) if board.has("dim") else None
        self.policy = Policy(None)
        self.verdict = Verdict(event)
        self._event = event
        self._board = board
        self._jitter = int.from_bytes(uid[-2:], "big") * 619 % 1000
        self._want = self._told = 100  # level that it has, and that was told
        self._mode = self._up = self.switches = self.lit_s = 0
        self._asked = -1  # uptime at which it is about to light up
        self._store = None

    def use(self, config) -> None:
        """Follow this configuration from now on."""
        self.policy.config = config
        self.verdict.full = int(config.lamp_w * 10) or self.verdict.full

    def keep(self, store) -> None:
        """Count on from what is in `store` (a node.health.Store): switchings, and minutes of operation."""
        self._store = store
        self.switches += store.get("switches")
        self.lit_s += store.get("lamp_min") * 60
        self._save_n = self.switches + _SAVE_N
        self._save_at = _FIRST_S

    def output(self, level: int) -> None:
        """Drive relay and dimmer now. The relay is written each time, so that a disturbed output is put right."""
        self._want = level
        dimmer = self.dimmer
        if self.relay:
            self.relay.set(level > 0)
        if dimmer and level != dimmer.level and (level or not self.relay):
            dimmer.set(level)

    async def _late(self) -> None:
        await self._board.sleep_ms(self._jitter)
        self.output(self._want)

    def step(self, up: int, time, sensors) -> None:
        """Decide and do at uptime `up` (s) and wall clock `time` (None: not set); sensors may know light and power."""
        policy = self.policy
        event = self._event
        want = self._want
        if want and 0 < up - self._up < _GAP_S:
            self.lit_s += up - self._up
        self._up = up
        try:
            level = policy.decide(up, time, _value(sensors, "lux"))
            if level and not want and self._jitter:
                self._want = level
                self._asked = up + 1
                self._task = asyncio.create_task(self._late())
            elif up != self._asked:
                self.output(level)
        except Exception:
            self.output(100)
            raise
        self.switches += (level > 0) != (want > 0)
        if policy.mode != self._mode:
            self._mode = policy.mode
            event(schema.EVENT_OVERRIDE, self._mode or -1)
        if level != self._told and policy.steady:
            self._told = level
            event(schema.EVENT_LAMP, level)
        self.verdict.step(up, level if self.dimmer else level and 100, _value(sensors, "power"))
        if self._store and (self.switches >= self._save_n or up >= self._save_at):
            self._save_n = self.switches + _SAVE_N
            self._save_at = up + _SAVE_S
            self._store.set("switches", self.switches)
            self._store.set("lamp_min", self.lit_s // 60)


def _value(sensors, name: str):
    for sensor in sensors:
        if name in sensor.value:
            return sensor.value[name]
    return None
