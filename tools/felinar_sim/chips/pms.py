"""Plantower PMS5003 and PMS7003 particle sensors, on a serial line at 9600 baud.

Source: Plantower PMS5003 series data manual V2.3 and PMS7003 V2.5: technical index (1 ug/m3 a step, 0 to 500
effective and 1000 at most, consistency 10 ug/m3 or 10 %), "Output result" (active mode after power-up; stable mode
every 2.3 s, fast mode every 200 to 800 ms when the concentration changes), "Circuit attentions" (30 s until data is
stable), appendix I (frame of 32 bytes: 42 4D, length 28, thirteen big-endian words, sum of all bytes before),
appendix I "Host protocol" (42 4D, command, two data bytes, sum: E1 mode, E2 read in passive mode, E4 sleep and wake).
"""

from __future__ import annotations

from felinar_sim.chips.aerosol import disturbed, growth, warming
from felinar_sim.chips.base import UartChip
from felinar_sim.conditions import Surroundings

_HEAD = b"\x42\x4d"
_STABLE_US, _FAST_US = 2_300_000, 800_000
_ANSWER_US = 20_000
_WARM_S = 30.0
_KEPT_US = 600_000_000
_COMMAND = 7


class Pms(UartChip):
    """Sends a frame by itself (active mode) or when it is asked (passive mode). Where the recorded PM2.5 has a gap it
    is silent.

    `version` and `error` are the bytes of the last data word. `gain` is this unit's constant error, drawn within 10
    %; `hygroscopic` is how much of the fog it takes for dust (1.0 all, 0.0 none). `slow_ms` lengthens the interval;
    stuck frames repeat to the bit.
    """

    def __init__(self, surroundings: Surroundings, *, version: int = 0x97, seed: int | str = 0) -> None:
        self.version = version
        self.error = 0
        self.hygroscopic = 1.0
        super().__init__(surroundings, seed)
        self.gain = 1 + self.random.uniform(-0.1, 0.1)

    def _power_on(self, now_us: int) -> None:
        super()._power_on(now_us)
        self._received = bytearray()
        self._active = True
        self._awake_us: int | None = now_us
        self._next_us = now_us + _STABLE_US
        self._before = 0.0

    def _receive(self, data: bytes, now_us: int) -> None:
        self._received += data
        while len(self._received) >= _COMMAND:
            if self._received[:2] != _HEAD:
                del self._received[0]
                continue
            command = bytes(self._received[:_COMMAND])
            if sum(command[:5]) != int.from_bytes(command[5:], "big"):
                del self._received[0]
                continue
            del self._received[:_COMMAND]
            self._obey(command[2], command[4], now_us)

    def _obey(self, command: int, value: int, now_us: int) -> None:
        if command == 0xE4:
            self._sleep(value, now_us)
        elif self._awake_us is None:
            return  # asleep it hears nothing but the wake-up
        elif command == 0xE1 and value in (0, 1):
            self._active = bool(value)
            self._next_us = now_us + _STABLE_US
            self._answer(command, value, now_us)
        elif command == 0xE2 and not self._active:
            self._report(now_us + _ANSWER_US)

    def _sleep(self, value: int, now_us: int) -> None:
        if value == 0 and self._awake_us is not None:
            self._answer(0xE4, 0, now_us)
            self._awake_us = None
        elif value == 1 and self._awake_us is None:
            self._awake_us, self._next_us = now_us, now_us + _STABLE_US

    def _answer(self, command: int, value: int, now_us: int) -> None:
        self._send(self._sealed(_HEAD + bytes((0, 4, command, value))), now_us + _ANSWER_US)

    def _run(self, now_us: int) -> None:
        if not self._active or self._awake_us is None:
            return
        # After a long silence of the reader the old frames are gone; there is no need to make them first.
        if now_us - self._next_us > _KEPT_US:
            self._next_us = now_us - (now_us - self._next_us) % _STABLE_US
        while self._next_us <= now_us:
            before = self._before
            self._report(self._next_us)
            changing = abs(self._before - before) > max(5.0, 0.2 * before)
            self._next_us += (_FAST_US if changing else _STABLE_US) + self._slow_us

    def _report(self, at_us: int) -> None:
        if self.surroundings(at_us).pm25 is None:
            return
        words = self._measure(at_us)
        data = b"".join(word.to_bytes(2, "big") for word in (*words, self.version << 8 | self.error))
        self._send(self._sealed(_HEAD + b"\x00\x1c" + data), at_us)

    def _sealed(self, data: bytes) -> bytes:
        total = sum(data) + (1 if self.bad_crc else 0)
        return data + (total & 0xFFFF).to_bytes(2, "big")

    def _sense(self, now_us: int) -> tuple[int, ...]:
        around = self.surroundings(now_us)
        assert around.pm25 is not None
        truth = [m if m is not None else around.pm25 for m in (around.pm1, around.pm25, around.pm10)]
        wet = 1 + self.hygroscopic * (growth(around.humidity_pct) - 1)
        warm = 0.0 if self._awake_us is None else warming(now_us - self._awake_us, _WARM_S)
        masses = disturbed(truth, self.gain * wet * warm, self.random, relative=0.05, absolute=0.5)
        pm1, pm25, pm10 = (min(round(mass), 1000) for mass in masses)
        self._before = masses[1]
        # "CF=1" values stand above the atmospheric ones from 30 ug/m3 on, up to half as much again.
        standard = [round(m if m < 30 else min(m * 1.5, 30 + (m - 30) * 1.7)) for m in (pm1, pm25, pm10)]
        counts = [round(masses[0] * k) for k in (190, 55)] + [round(masses[0] * 9)]
        coarse = [masses[1] - masses[0], masses[2] - masses[1]]
        counts += [round(max(coarse[0], 0) * 3), round(max(coarse[1], 0) * 0.8), round(max(coarse[1], 0) * 0.3)]
        return *standard, pm1, pm25, pm10, *(min(count, 0xFFFF) for count in counts)
