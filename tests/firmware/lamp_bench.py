"""The lamp's modules on a bench of fake pins, driven by lists of plain values. Runs in CPython and MicroPython alike."""

from node import schedule
from node.lighting import Lighting


class Pin:
    """A pin that keeps what is written; a dimmer's PWM as well."""

    def __init__(self, value=0):
        self.level = value
        self.duty = 0

    def value(self, level=None):
        if level is None:
            return self.level
        self.level = int(level)

    def duty_u16(self, duty):
        self.duty = duty


class Board:
    """What the lamp wants of the board services."""

    def __init__(self, normally_closed=True, pins=("relay", "dim")):
        self.normally_closed = normally_closed
        self.pins = {name: Pin() for name in pins}

    def has(self, name):
        return name in self.pins

    def pin(self, name, mode, value=None):
        self.pins[name].level = int(value or 0)
        return self.pins[name]

    def pwm(self, name, hz):
        return self.pins[name]

    async def sleep_ms(self, ms):
        raise AssertionError("nothing sleeps here")


class Config:
    """A configuration with that object `lamp`."""

    def __init__(self, lamp, place=None):
        self.programs, self.bad = schedule.parse(lamp)
        self.place = place
        self.on_below_deg = -0.833
        self.utc_offset_min = 120
        self.summer_time = True
        self.min_on_s = lamp.get("min_on_s", 3)
        self.min_off_s = lamp.get("min_off_s", 3)
        self.lamp_w = lamp.get("lamp_w", 0)


class Broken:
    """A sensor that is not there any more in a way that nobody foresaw."""

    @property
    def value(self):
        raise RuntimeError("out of order")


class Sensor:
    def __init__(self):
        self.value = {}


class Bench:
    """`do` takes one operation and returns [what the relay does, level, mode]: lit 1, dark 0."""

    def __init__(self):
        self.events = []
        self.sensor = Sensor()

    def do(self, what, *arguments):
        getattr(self, what)(*arguments)
        policy = self.lighting.policy
        coil = self.board.pins["relay"].level
        return [int(coil == 0) if self.board.normally_closed else coil, policy.level, policy.mode]

    def boot(self, lamp, place, normally_closed):
        self.board = Board(normally_closed)
        self.lighting = Lighting(self.board, lambda code, argument: self.events.append([code, argument]))
        self.lighting.use(Config(lamp, place))

    def step(self, up, time, lux, power):
        self.sensor.value.clear()
        if lux is not None:
            self.sensor.value["lux"] = float(lux) if lux == "nan" else lux
        if power is not None:
            self.sensor.value["power"] = power
        self.lighting.step(up, time, [self.sensor])

    def order(self, mode, level, ttl, fade, up, start):
        self.lighting.policy.override(mode, level, ttl, fade, up, 0, start)

    def host(self, up):
        self.lighting.policy.set_at = up

    def safe(self, safe):
        self.lighting.policy.safe = safe

    def crash(self, up, time, where):
        policy = self.lighting.policy
        kept = policy.config
        if where:
            policy.config = None
        try:
            self.lighting.step(up, time, [self.sensor] if where else [Broken()])
        except (AttributeError, RuntimeError):
            pass
        else:
            raise AssertionError("the crash did not come through")
        policy.config = kept
