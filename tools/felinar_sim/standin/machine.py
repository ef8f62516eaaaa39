"""Stand-in for the chip's `machine`: pins, I2C, watchdog and resets; what is rarer is loaded from the module's `sim…` files."""

import simlink
from micropython import const

_EXIT = const(3)
_PIN_MODE = const(10)
_PIN_WRITE = const(11)
_PIN_READ = const(12)
_PIN_IRQ = const(13)
_I2C_SETUP = const(20)
_I2C_WRITE = const(21)
_I2C_READ = const(22)
_WDT = const(32)
_IRQ = const(128)
_LOW = const(512)
_HARD = const(0)
_SOFT = const(1)
_DEEP = const(2)

PWRON_RESET = const(1)
HARD_RESET = const(2)
WDT_RESET = const(3)
DEEPSLEEP_RESET = const(4)
SOFT_RESET = const(5)
_cause = PWRON_RESET
_uid = b""
_hz = 160_000_000
_levels = bytearray(49)  # what this program has written to a pin: 2 and the level, 0 nothing yet


def begin(buffer):
    """What HELLO told about this board."""
    global _cause, _uid
    _cause = buffer[1]
    _uid = bytes(buffer[2:8])
    simlink.quiet = int.from_bytes(buffer[20:28], "little")
    for i in range(2):
        if buffer[28 + i] < 255:
            simlink.low[buffer[28 + i]] = _LOW << i


def reset_cause():
    return _cause


def unique_id():
    return _uid


def freq(hz=None):
    global _hz
    if hz is None:
        return _hz
    _hz = hz


def reset():
    simlink.exit(_HARD)


def soft_reset():
    simlink.exit(_SOFT)


def idle():
    simlink.spend(10)


def lightsleep(ms=None):
    simlink.wait(-1 if ms is None else simlink.uptime() + ms * 1000, _IRQ)


def deepsleep(ms=0):
    simlink.post(_EXIT, _DEEP, a=ms * 1000)
    simlink.exit(_DEEP)


def disable_irq():
    return 0


def enable_irq(state=0):
    pass


class Pin:
    IN = const(1)
    OUT = const(3)
    OPEN_DRAIN = const(7)
    PULL_DOWN = const(1)
    PULL_UP = const(2)
    IRQ_RISING = const(1)
    IRQ_FALLING = const(2)

    def __init__(self, id, mode=-1, pull=-1, *, value=None, drive=None, hold=None):
        if isinstance(id, Pin):
            id = id.sim_id
        if not isinstance(id, int) or not 0 <= id < 49:
            raise ValueError("invalid pin")
        self.sim_id = id
        if mode != -1 or pull != -1 or value is not None:
            self.init(mode, pull, value=value)

    def init(self, mode=-1, pull=-1, *, value=None, drive=None, hold=None):
        if mode in (Pin.OUT, Pin.OPEN_DRAIN) and 34 <= self.sim_id <= 39:
            raise ValueError("pin can only be input")
        _levels[self.sim_id] = 0
        simlink.post(
            _PIN_MODE,
            self.sim_id,
            255 if mode is None or mode < 0 else mode,
            (0 if pull is None else 255 if pull < 0 else pull) | (2 if value is None else 1 if value else 0) << 8,
        )

    def value(self, x=None):
        id = self.sim_id
        if x is None:
            return 0 if simlink.low_still(id) else simlink.ask(_PIN_READ, id)
        level = 3 if x else 2
        if _levels[id] != level:  # else it changes nothing
            _levels[id] = level
            if simlink.quiet >> id & 1:
                simlink.choose(id, level & 1)
            else:
                simlink.post(_PIN_WRITE, id, level & 1)

    __call__ = value

    def on(self):
        self.value(1)

    def off(self):
        self.value(0)

    def toggle(self):
        self.value(not self.value())

    def irq(self, handler=None, trigger=3, *, wake=None, hard=False):
        if handler is None:
            simlink.irqs.pop(self.sim_id, None)
            trigger = 0
        else:
            simlink.irqs[self.sim_id] = (handler, self)
        simlink.post(_PIN_IRQ, self.sim_id, trigger)

    def __repr__(self):
        return "Pin(%d)" % self.sim_id


def _number(pin, default):
    return default if pin is None else pin.sim_id


class I2C:
    _DEFAULTS = (18, 19, 25, 26)  # scl, sda of bus 0 and 1

    def __init__(self, id=0, *, scl=None, sda=None, freq=400_000, timeout=50_000):
        if not 0 <= id < 2:
            raise ValueError("I2C(%d) doesn't exist" % id)
        self._id = id
        self.init(_number(scl, self._DEFAULTS[2 * id]), _number(sda, self._DEFAULTS[2 * id + 1]), freq, timeout)

    def init(self, scl, sda, freq, timeout=50_000):
        simlink.post(_I2C_SETUP, self._id, scl | sda << 8 | timeout << 16, freq)

    def deinit(self):
        simlink.post(_I2C_SETUP, self._id, 0xFFFF, 0)

    def readfrom_into(self, addr, buf, stop=True):
        buf = simlink.raw(buf)
        status = simlink.ask(_I2C_READ, self._id | (128 if stop else 0), addr, len(buf), None, buf)
        if status:
            raise OSError(status)

    def readfrom(self, addr, nbytes, stop=True):
        buf = bytearray(nbytes)
        self.readfrom_into(addr, buf, stop)
        return bytes(buf)

    def writeto(self, addr, buf, stop=True):
        buf = simlink.raw(buf)
        status = simlink.ask(_I2C_WRITE, self._id | (128 if stop else 0), addr, 0, buf)
        if status:
            raise OSError(status)
        return len(buf)

    def writevto(self, addr, vector, stop=True):
        return self.writeto(addr, b"".join(vector), stop)

    def writeto_mem(self, addr, memaddr, buf, *, addrsize=8):
        self.writeto(addr, memaddr.to_bytes(addrsize // 8, "big") + bytes(simlink.raw(buf)))

    def readfrom_mem_into(self, addr, memaddr, buf, *, addrsize=8):
        self.writeto(addr, memaddr.to_bytes(addrsize // 8, "big"), False)
        self.readfrom_into(addr, buf)

    def readfrom_mem(self, addr, memaddr, nbytes, *, addrsize=8):
        buf = bytearray(nbytes)
        self.readfrom_mem_into(addr, memaddr, buf, addrsize=addrsize)
        return bytes(buf)

    def scan(self):
        found = []
        for addr in range(0x08, 0x78):
            if simlink.ask(_I2C_WRITE, self._id | 128, addr, 0, b"") == 0:
                found.append(addr)
        return found


class WDT:
    def __init__(self, id=0, timeout=5000):
        if id != 0:
            raise ValueError
        if timeout <= 0:
            raise ValueError("WDT timeout too short")
        simlink.post(_WDT, 0, timeout * 1000)

    def feed(self):
        simlink.feed()


def __getattr__(name):
    if name not in ("PWM", "ADC", "Counter", "Timer", "RTC", "I2S", "UART", "SPI", "SoftI2C"):
        raise AttributeError(name)
    return getattr(__import__("sim" + name.lower()), name)
