"""`machine.SoftI2C`: to the simulator, a controller like the others."""

from machine import I2C


class SoftI2C(I2C):
    _next = 2

    def __init__(self, scl, sda, *, freq=400_000, timeout=50_000):
        self._id = SoftI2C._next
        SoftI2C._next += 1
        self.init(scl.sim_id, sda.sim_id, freq, timeout)
