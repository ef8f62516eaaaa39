"""BL0937 power meter. Shanghai Belling data sheet BL0937 V1.02: pulses on CF for energy, on CF1 for voltage or current.

F_CF = 1721506 V I / Vref^2, F_CFU = 15397 V / Vref, F_CFI = 94638 I / Vref, with V and I in volts at the chip's
inputs and Vref 1.218 V; SEL high chooses the voltage. The board file says what is in front of the inputs: `divider`
(mains voltage over input voltage) and `shunt_uohm`, and the factor `gain` of a calibration.
"""

from time import ticks_diff

from micropython import const

from drivers import NACK, DriverError

_OUT = const(3)  # machine.Pin.OUT on the ESP32
_MJ_PER_WH = const(3600000)


class Bl0937:
    """Fills `power` in W, of the time since the last reading, and `energy` in Wh since start.

    Energy is counted in pulses of `pulse_mj` mJ, so that nothing is lost to rounding. `voltage` (V) and `current` (A)
    are measured in turns, one a reading; None until then. The first reading after `start` has no power. Where mains is,
    the voltage sends pulses: without them a reading raises DriverError(NACK), lest a dead meter pass for 0 W.
    """

    NAME = "bl0937"
    FIELDS = ("power", "energy")
    PERIOD_MS = 5000
    VREF = 1.218
    CF = 1721506
    CFU = 15397
    CFI = 94638

    def __init__(self, b, entry):
        self._b = b
        self._index = entry.get("counter", 0)
        self._pins = entry.get("pins", ("power_cf", "power_cf1", "power_sel"))
        divider = entry.get("divider", 1961)
        ohm = entry.get("shunt_uohm", 1000) * 1e-6
        gain = entry.get("gain", 1)
        self._watt = self.VREF * self.VREF * divider / ohm / self.CF * gain  # J a pulse
        self.pulse_mj = int(self._watt * 1000 + 0.5)
        self._volt = self.VREF * divider / self.CFU
        self._ampere = self.VREF / ohm / self.CFI
        self._open = False
        self._pulses = 0
        self._wh = self._mj = 0
        self.voltage = self.current = None

    async def start(self) -> None:
        b = self._b
        if not self._open:
            self._cf = b.counter(self._index, self._pins[0])
            self._cf1 = b.counter(self._index + 1, self._pins[1])
            self._sel = b.pin(self._pins[2], _OUT, 1)
            self._open = True
        self._mode = 1
        self._sel.value(1)
        self._then = None
        self._silent = False

    async def read(self, out) -> None:
        now = self._b.ticks_ms()
        pulses = self._cf.value()
        count = pulses - self._pulses
        other = self._cf1.value()
        # A counter that has been reset starts at zero.
        if count < 0:
            count = pulses
        self._pulses = pulses
        self._count(count)
        out[0] = None
        if self._then is not None:
            ms = ticks_diff(now, self._then)
            if ms > 0:
                out[0] = count * self._watt * 1000 / ms
                hz = (other - self._other) * 1000 / ms
                if self._mode:
                    self._silent = hz == 0 and ms >= 1000
                    self.voltage = hz * self._volt
                else:
                    self.current = hz * self._ampere
        self._then = now
        self._mode ^= 1
        self._sel.value(self._mode)
        self._other = self._cf1.value()
        out[1] = self._wh
        if self._silent:
            raise DriverError(NACK)

    def _count(self, pulses: int) -> None:
        # In portions, so that the product stays a small integer (2^30) up to 10 J a pulse.
        while pulses:
            part = min(pulses, 100)
            pulses -= part
            self._mj += part * self.pulse_mj
            self._wh += self._mj // _MJ_PER_WH
            self._mj %= _MJ_PER_WH


def open(b, entry):
    return Bl0937(b, entry)
