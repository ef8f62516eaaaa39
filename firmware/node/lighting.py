"""The lamp as a whole: what the policy decides goes to relay and dimmer, and what changes is told."""

from drivers.dimmer import Dimmer
from drivers.relay import Relay
from felinar_wire import schema

from node.lamp import Policy


class Lighting:
    """Lit from the first moment: made before anything else is looked at."""

    def __init__(self, board, event) -> None:
        """`event(code, argument)` keeps an EVENT."""
        self.relay = Relay(board, "relay", board.normally_closed) if board.has("relay") else None
        self.dimmer = Dimmer(board) if board.has("dim") else None
        self._event = event
        self._told = 100  # level
        self._mode = 0  # told

    def use(self, config) -> None:
        """Follow this configuration; before the first `step`."""
        self.policy = Policy(config)

    def output(self, level: int) -> None:
        """Drive relay and dimmer. The relay is written each time, so that a disturbed output is put right."""
        if self.relay:
            self.relay.set(level > 0)
        if self.dimmer and level and level != self.dimmer.level:
            self.dimmer.set(level)

    def step(self, up: int, time, sensors) -> None:
        """Decide and do at uptime `up` (s) and wall clock `time` (None: not set); `sensors` may know the light."""
        policy = self.policy
        level = 100
        try:
            level = policy.decide(up, time, _lux(sensors))
        finally:  # a policy that fails leaves the lamp lit
            self.output(level)
        if policy.mode != self._mode:
            self._mode = policy.mode
            self._event(schema.EVENT_OVERRIDE, self._mode or -1)
        if level != self._told and policy.steady:
            self._told = level
            self._event(schema.EVENT_LAMP, level)


def _lux(sensors):
    for sensor in sensors:
        if "lux" in sensor.value:
            return sensor.value["lux"]
    return None
