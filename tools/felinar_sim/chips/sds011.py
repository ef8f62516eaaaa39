"""Nova Fitness SDS011 particle sensor, on a serial line at 9600 baud.

Sources: SDS011 specification V1.3 (0.0 to 999.9 ug/m3, one report a second, relative error of 15 % or 10 ug/m3 at 25
degrees C and 50 %RH, at most 70 %RH); Laser Dust Sensor Control Protocol V1.3 (2015): commands AA B4, 15 data bytes,
sum of the data, AB; answers AA C5 and reports AA C0 with 6 data bytes; reporting mode (2), query (4), device ID (5),
sleep and work (6), firmware (7), working period (8); mode, ID and period outlast a power-off, sleep does not; any
command wakes it; stable after 30 s.
"""

from __future__ import annotations

from felinar_sim.chips.aerosol import disturbed, growth, warming
from felinar_sim.chips.base import UartChip
from felinar_sim.conditions import Surroundings

_HEAD, _TAIL, _FROM_HOST, _ANSWER, _REPORT = 0xAA, 0xAB, 0xB4, 0xC5, 0xC0
_COMMAND = 19
_SECOND_US = 1_000_000
_WORK_US = 30 * _SECOND_US
_ANSWER_US = 10_000
_KEPT_US = 600_000_000  # older reports that nobody has read are not made
_FIRMWARE = (15, 7, 10)  # year, month, day


class Sds011(UartChip):
    """Reports every second, once a working period, or when it is asked. Where the recorded PM2.5 has a gap it is
    silent.

    `gain` is this unit's constant error, drawn within 10 %; `hygroscopic` is how much of the fog it takes for dust
    (1.0 all, 0.0 none). `slow_ms` lengthens the interval; stuck reports repeat to the bit.
    """

    def __init__(self, surroundings: Surroundings, *, seed: int | str = 0) -> None:
        self.hygroscopic = 1.0
        self.active = True
        self.period_min = 0
        self.device_id = 0xA160
        super().__init__(surroundings, seed)
        self.gain = 1 + self.random.uniform(-0.1, 0.1)

    def _power_on(self, now_us: int) -> None:
        super()._power_on(now_us)
        self._received = bytearray()
        self._asleep = False
        self._work(now_us)

    def _work(self, now_us: int) -> None:
        self._started_us = now_us
        self._next_us = now_us + (_WORK_US if self.period_min else _SECOND_US)

    def _receive(self, data: bytes, now_us: int) -> None:
        self._received += data
        while len(self._received) >= _COMMAND:
            frame = self._received[:_COMMAND]
            framed = frame[0] == _HEAD and frame[1] == _FROM_HOST and frame[18] == _TAIL
            good = framed and sum(frame[2:17]) & 0xFF == frame[17]
            if not good:
                del self._received[0]
                continue
            del self._received[:_COMMAND]
            if int.from_bytes(frame[15:17], "big") in (0xFFFF, self.device_id):
                self._obey(frame[2:15], now_us)

    def _obey(self, data: bytearray, now_us: int) -> None:
        command, setting, value = data[0], data[1], data[2]
        if self._asleep and not (command == 6 and setting == 1 and value == 0):
            self._asleep = False
            self._work(now_us)
        if command == 4:
            self._report(now_us + _ANSWER_US)
            return
        if command == 2:
            self.active = self.active if setting == 0 else value == 0
            answer = bytes((2, setting, int(not self.active), 0))
        elif command == 5:
            self.device_id = data[11] << 8 | data[12]
            answer = bytes((5, 0, 0, 0))
        elif command == 6:
            if setting == 1:
                self._asleep = value == 0
            answer = bytes((6, setting, int(not self._asleep), 0))
        elif command == 7:
            answer = bytes((7, *_FIRMWARE))
        elif command == 8:
            if setting == 1 and value <= 30:
                self.period_min = value
                self._work(now_us)
            answer = bytes((8, setting, self.period_min, 0))
        else:
            return
        self._send(self._framed(_ANSWER, answer), now_us + _ANSWER_US)

    def _run(self, now_us: int) -> None:
        if self._asleep or not self.active:
            self._next_us = max(self._next_us, now_us)
            return
        interval_us = (self.period_min * 60 * _SECOND_US or _SECOND_US) + self._slow_us
        if now_us - self._next_us > max(_KEPT_US, interval_us):
            self._next_us = now_us - (now_us - self._next_us) % interval_us
        while self._next_us <= now_us:
            if self.period_min:
                self._started_us = self._next_us - _WORK_US
            self._report(self._next_us)
            self._next_us += interval_us

    def _report(self, at_us: int) -> None:
        if self.surroundings(at_us).pm25 is not None:
            pm25, pm10 = self._measure(at_us)
            self._send(self._framed(_REPORT, pm25.to_bytes(2, "little") + pm10.to_bytes(2, "little")), at_us)

    def _framed(self, kind: int, data: bytes) -> bytes:
        body = data + self.device_id.to_bytes(2, "big")
        return bytes((_HEAD, kind)) + body + bytes((sum(body) + (1 if self.bad_crc else 0) & 0xFF, _TAIL))

    def _sense(self, now_us: int) -> tuple[int, int]:
        around = self.surroundings(now_us)
        assert around.pm25 is not None
        truth = [around.pm25, around.pm25 if around.pm10 is None else around.pm10]
        wet = 1 + self.hygroscopic * (growth(around.humidity_pct) - 1)
        warm = warming(now_us - self._started_us, 30.0)
        pm25, pm10 = disturbed(truth, self.gain * wet * warm, self.random, relative=0.03, absolute=0.2)
        return min(round(pm25 * 10), 9999), min(round(pm10 * 10), 9999)
