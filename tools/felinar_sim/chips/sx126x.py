"""Semtech SX1261/SX1262: commands, registers, buffer, BUSY and DIO1, in LoRa mode.

Source: data sheet DS.SX1261-2.W.APP, rev. 2.1 (December 2021): modes and BUSY section 8 (table 8-2: switching times), image
calibration 9.2.1, boosted gain 9.6, registers 12.1, commands 13 (status byte 13.5.1, interrupts 13.3.1, TCXO 13.3.6),
known limitations 15. A full calibration takes 3.5 ms (13.1.12); that of the image is not given and modelled alike.

What a command is allowed in: table `_IN`. One that comes in a wrong mode has status 5 (execution failure) and no effect, one
that is unknown or too short status 4; one that comes while BUSY is high is lost, and noted in `wrong`. Not modelled: FSK,
duty-cycled reception, sleep's RTC.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from felinar_sim.chips.radio import Emission, LoraRadio, Tuning, airtime_us

SLEEP, RC, XOSC, FS, RX, TX = 0, 2, 3, 4, 5, 6
"""Chip modes as the status byte tells them (SLEEP tells nothing)."""

_STANDBY = (RC, XOSC)
_REST = (RC, XOSC, FS)
_TX_DONE, _RX_DONE, _PREAMBLE, _HEADER, _HEADER_ERR, _CRC_ERR, _CAD_DONE, _CAD_HIT, _TIMEOUT = (
    1, 2, 4, 16, 32, 64, 128, 256, 512,
)  # fmt: skip
_XOSC_ERROR = 0x20
_COLD_US, _WARM_US, _CALIBRATION_US = 3500, 340, 3500
_SWITCH_US = {
    (RC, XOSC): 31, (RC, FS): 50, (RC, RX): 83, (RC, TX): 126,
    (XOSC, FS): 40, (XOSC, RX): 62, (XOSC, TX): 105, (FS, RX): 41, (FS, TX): 76, (RX, FS): 15, (RX, TX): 92,
}  # fmt: skip
_BANDWIDTH = {
    0: 7_810, 8: 10_420, 1: 15_630, 9: 20_830, 2: 31_250, 10: 41_670, 3: 62_500, 4: 125_000, 5: 250_000, 6: 500_000,
}  # fmt: skip
_TCXO_MV = (1600, 1700, 1800, 2200, 2400, 2700, 3000, 3300)
_TICK_US = 15.625
# opcode: (least number of parameters, modes in which it is taken)
_IN: dict[int, tuple[int, tuple[int, ...]]] = {
    0x84: (1, _STANDBY), 0x80: (1, (RC, XOSC, FS, RX, TX)), 0xC1: (0, (RC, XOSC, FS, RX, TX)), 0x83: (3, (RC, XOSC, FS, RX)),
    0x82: (3, (RC, XOSC, FS, TX)), 0x9F: (1, _REST), 0xC5: (0, _REST), 0x96: (1, (RC,)), 0x89: (1, (RC,)),
    0x98: (2, _STANDBY), 0x95: (4, _REST), 0x93: (1, _REST), 0x08: (8, (RC, XOSC, FS, RX, TX)), 0x02: (2, (RC, XOSC, FS, RX, TX)),
    0x9D: (1, (RC,)), 0x97: (4, (RC,)), 0x86: (4, _REST), 0x8A: (1, _REST), 0x8E: (2, _REST), 0x8B: (4, _REST),
    0x8C: (6, _REST), 0x88: (7, _REST), 0x8F: (2, _REST), 0xA0: (1, _REST), 0x07: (2, (RC, XOSC, FS, RX, TX)),
    0x0D: (3, (RC, XOSC, FS, RX, TX)), 0x0E: (2, (RC, XOSC, FS, RX, TX)),
}  # fmt: skip
_READS = frozenset((0xC0, 0x12, 0x13, 0x14, 0x15, 0x17, 0x10, 0x11, 0x1D, 0x1E, 0x00))
_RESET_VALUES = {
    0x0736: 0x0D, 0x0740: 0x14, 0x0741: 0x24, 0x0889: 0x01, 0x08AC: 0x94, 0x08D8: 0xC8, 0x0902: 0x01, 0x0911: 0x05, 0x0912: 0x05,
}  # fmt: skip


class Sx126x(LoraRadio):
    """One chip on its module. `tcxo_mv`: it has a TCXO of that supply on DIO3; `dio2_switch`: its antenna switch hangs on DIO2.

    `identity` replaces the sync word that the registers hold after a reset, by which a driver knows the chip.
    """

    def __init__(
        self,
        *,
        sx1261: bool = False,
        tcxo_mv: int | None = None,
        dio2_switch: bool = False,
        rxen: bool = False,
        power_pin: bool = False,
        seed: int | str = 0,
    ) -> None:
        self.sx1261, self.tcxo_mv, self.dio2_switch = sx1261, tcxo_mv, dio2_switch
        self.identity: tuple[int, int] | None = None
        super().__init__(rxen=rxen, power_pin=power_pin, seed=seed)

    def _power_on(self, now_us: int) -> None:
        self._forget(now_us)
        self.registers = bytearray(0x1000)
        for address, value in _RESET_VALUES.items():
            self.registers[address] = value
        self.registers[0x08E7] = 0x18 if self.sx1261 else 0x38
        if self.identity is not None:
            self.registers[0x0740:0x0742] = bytes(self.identity)
        self.buffer = bytearray(256)
        self.mode = RC
        self.packet_type: int | None = 0
        self.image_band = (902, 928)
        self.calibrated = self.tcxo_mv is None
        self.errors = 0 if self.tcxo_mv is None else _XOSC_ERROR
        self.dc_dc = False
        self._dio2 = False
        self._dio3: tuple[int, int] | None = None  # mV, µs until it is stable
        self._fallback = RC
        self._rf = 0
        self._pa = b"\x04\x00\x01\x01" if self.sx1261 else b"\x04\x07\x00\x01"
        self._power = 0
        self._modulation = b"\x07\x04\x01\x00"
        self._packet = b"\x00\x08\x00\xff\x01\x00"
        self._cad = b"\x00\x00\x00\x00\x00\x00\x00"
        self._set_to: Tuning | None = None  # what `_tuning` has made of these
        self._tx_base = self._rx_base = self._rx_next = 0
        self._rx_single = False
        self._got = (0, 0)  # length, place in the buffer
        self._status = (0, 0, 0)  # RSSI, SNR, signal RSSI, as the command gives them
        self._irq = self._irq_mask = self._dio1_mask = 0
        self._command_status = 1
        self._stats = [0, 0, 0]  # frames, with a wrong CRC, headers that could not be read
        self._wake_us = _COLD_US
        self._in = bytearray()
        self._ignored = False
        self._busy_until = now_us + _COLD_US + self._slow_us

    # Lines

    def _busy(self, now_us: int) -> bool:
        return self._held or self.mode == SLEEP or now_us < self._busy_until

    def _wants_irq(self) -> bool:
        return bool(self._irq & self._dio1_mask)

    def _raise(self, flags: int, now_us: int) -> None:
        self._irq |= flags & self._irq_mask
        self._line(now_us)

    # SPI

    def idle(self) -> bool:
        given = self._in
        return not given or (not self._ignored and given[0] in _READS and (given[0] != 0 or len(given) < 7))

    def foresee(self) -> bytes:
        """A frame has been received: statistics, flags, their clearing, where it is, how strong it was, and the frame."""
        flags = self._irq
        if self.mode != RX or not flags & _RX_DONE or not self._alive or self._held or self.busy_stuck:
            return b""
        before = bytes([self._status_byte()]) * 2
        after = bytes([self.mode << 4 | 2]) * 2
        size, place = self._got
        raised = flags.to_bytes(2, "big")
        return b"".join(
            (
                b"\x10\0\0\0\0", before, self._statistics()[:3],
                b"\x12\0\0\0\0", before, raised, b"\0",
                b"\x02", raised,
                b"\x13\0\0\0\0", after, bytes(self._got), b"\0",
                b"\x14\0\0\0\0", after, bytes(self._status),
                bytes((0x1E, place, 0)), self._stored(place, size),
            )
        )  # fmt: skip

    def _statistics(self) -> bytes:
        return b"".join((n & 0xFFFF).to_bytes(2, "big") for n in self._stats)

    def _stored(self, place: int, size: int) -> bytes:
        """Bytes of the buffer, which goes on at its beginning."""
        place &= 255
        out = bytes(self.buffer[place : place + size])
        while len(out) < size:
            out += bytes(self.buffer[: size - len(out)])
        return out

    def _select(self, selected: bool, now_us: int) -> None:
        if selected:
            self._in.clear()
            self._ignored = self._busy(now_us) or self.busy_stuck
            if self.mode == SLEEP:
                self.mode, self._busy_until = RC, now_us + self._wake_us + self._slow_us
        elif self._in and not self._ignored:
            self._execute(self._in[0], bytes(self._in[1:]), now_us)
        elif self._in and not self.busy_stuck:
            self.wrong.append(f"command 0x{self._in[0]:02x} while BUSY")

    def _shift(self, data: bytes, now_us: int) -> bytes:
        at = len(self._in)
        self._in += data
        if self._ignored:
            return bytes([self._status_byte()]) * len(data)
        return self._reply()[at : at + len(data)]

    def _status_byte(self) -> int:
        return self.mode << 4 | self._command_status << 1

    def _reply(self) -> bytes:
        op, given = self._in[0], self._in
        status = bytes([self._status_byte()])
        answer, skip = b"", 2
        if op == 0x12:
            answer = self._irq.to_bytes(2, "big")
        elif op == 0x13:
            answer = bytes(self._got)
        elif op == 0x14:
            answer = bytes(self._status)
        elif op == 0x15:
            answer = bytes([self._rssi_now()])
        elif op == 0x17:
            answer = self.errors.to_bytes(2, "big")
        elif op == 0x11:
            answer = bytes([self.packet_type or 0])
        elif op == 0x10:
            answer = self._statistics()
        elif op == 0x1D and len(given) >= 3:
            address, skip = given[1] << 8 | given[2], 4
            answer = bytes(self.registers[(address + i) % 4096] for i in range(max(0, len(given) - 4)))
        elif op == 0x1E and len(given) >= 2:
            skip = 3
            answer = self._stored(given[1], max(0, len(given) - 3))
        if not answer:
            skip = len(given)
        return (status * skip + answer).ljust(len(given), b"\0")[: len(given)]

    def _rssi_now(self) -> int:
        return 230 if self.mode == RX else 255

    # Commands

    def _execute(self, op: int, p: bytes, now_us: int) -> None:
        if op == 0 and len(p) >= 6:
            self._stats = [0, 0, 0]
        if op in _READS:
            return
        rule = _IN.get(op)
        if rule is None or len(p) < rule[0]:
            self._fail(4, op)
            return
        if self.mode not in rule[1]:
            self._fail(5, op)
            return
        self._command_status = 1
        self._set_to = None
        if op > 0x7F:  # T_SW of what only moves data is below a microsecond
            self._busy_until = max(self._busy_until, now_us + 1)
        if op in self._TABLE:
            self._TABLE[op](self, p, now_us)

    def _fail(self, status: int, op: int) -> None:
        self._command_status = status
        self.wrong.append(f"command 0x{op:02x} in mode {self.mode}: status {status}")

    def _oscillator(self) -> int | None:
        """µs until the 32 MHz oscillator runs; None when it cannot."""
        if self.mode not in (RC, SLEEP):
            return 0
        if self.tcxo_mv is None:
            return 0 if self._dio3 is None else self._dio3[1]
        if self._dio3 is None or self._dio3[0] < self.tcxo_mv:
            return None
        return self._dio3[1]

    def _enter(self, mode: int, now_us: int) -> int | None:
        """Change the mode; when it is there, or None when the oscillator doesn't start."""
        starts = self._oscillator() if mode not in (RC, SLEEP) else 0
        was = self.mode
        self._forget(now_us)
        if starts is None:
            self.errors |= _XOSC_ERROR
            self._command_status = 5
            self.mode = RC
            return None
        ready = now_us + _SWITCH_US.get((was, mode), 1) + starts + self._slow_us
        self.mode = mode
        self._busy_until = max(self._busy_until, ready)
        return ready

    def _set_sleep(self, p: bytes, now_us: int) -> None:
        self._forget(now_us)
        if not p[0] & 4:
            self._power_on(now_us)
        self._wake_us = _WARM_US if p[0] & 4 else _COLD_US
        self.mode = SLEEP

    def _set_standby(self, p: bytes, now_us: int) -> None:
        self._enter(XOSC if p[0] & 1 else RC, now_us)

    def _set_fs(self, p: bytes, now_us: int) -> None:
        self._enter(FS, now_us)

    def _set_regulator(self, p: bytes, now_us: int) -> None:
        self.dc_dc = bool(p[0] & 1)

    def _set_tx(self, p: bytes, now_us: int) -> None:
        if self.packet_type != 1 or not self._rf:
            self._fail(5, 0x83)
            return
        ready = self._enter(TX, now_us)
        if ready is None:
            return
        size = self._packet[3]
        data = bytes(self.buffer[(self._tx_base + i) & 255] for i in range(size))
        end = ready + self._own_airtime(size)
        timeout = int.from_bytes(p[:3], "big")
        emission = Emission(
            self._tuning(), data, ready, end, self._dbm(), int.from_bytes(self._packet[:2], "big"), self._modulation[2],
            bool(self._packet[4]), self._clean(),
        )  # fmt: skip
        self._plan(ready, lambda: self._emit(emission))
        if timeout and now_us + timeout * _TICK_US < end:
            self._plan(now_us + round(timeout * _TICK_US), lambda: self._timed_out(now_us + round(timeout * _TICK_US)))
            return
        self._plan(end, lambda: self._sent(end))

    def _sent(self, now_us: int) -> None:
        self._emission = None
        self._rest(now_us)
        self._command_status = 6
        self._raise(_TX_DONE, now_us)

    def _timed_out(self, now_us: int) -> None:
        self._rest(now_us)
        self._command_status = 3
        self._raise(_TIMEOUT, now_us)

    def _rest(self, now_us: int) -> None:
        """What follows a transmission or a single reception: the fallback mode (section 13.1.15)."""
        self._forget(now_us)
        self.mode = self._fallback

    def _set_rx(self, p: bytes, now_us: int) -> None:
        if self.packet_type != 1 or not self._rf:
            self._fail(5, 0x82)
            return
        ready = self._enter(RX, now_us)
        if ready is None:
            return
        timeout = int.from_bytes(p[:3], "big")
        self._rx_single, self._rx_next = timeout != 0xFFFFFF, self._rx_base
        self._open(ready)
        if 0 < timeout < 0xFFFFFF:
            due = ready + round(timeout * _TICK_US)
            self._plan(due, lambda: self._timed_out(due))

    def _set_cad(self, p: bytes, now_us: int) -> None:
        if self.packet_type != 1 or not self._rf:
            self._fail(5, 0xC5)
            return
        ready = self._enter(RX, now_us)
        if ready is None:
            return
        t = self._tuning()
        symbol_us = (1 << t.sf) * 1e6 / t.bw
        listened = ready + round((1 << min(self._cad[0], 4)) * symbol_us)
        done = listened + round(symbol_us / 2)  # what the correlation takes (AN1200.48)

        def finish() -> None:
            deaf = self.deaf or (self._rxen and not self._rxen_on)
            hit = not deaf and self.channel_busy(t, ready, listened)
            if hit and self._cad[3] == 1:
                self._rx_single = True
                self._open(ready)
            else:
                self._forget(done)
                self.mode = RC
            self._raise(_CAD_DONE | (_CAD_HIT if hit else 0), done)

        self._plan(done, finish)

    def _calibrate(self, p: bytes, now_us: int) -> None:
        starts = self._oscillator()
        self._busy_until = now_us + _CALIBRATION_US + (starts or 0) + self._slow_us
        if starts is None:
            self.errors |= _XOSC_ERROR
        else:
            self.calibrated = True
            if p[0] & 0x40:
                self.image_band = (902, 928)
            if self.deaf == 1:
                self.deaf = 0

    def _calibrate_image(self, p: bytes, now_us: int) -> None:
        self._busy_until = now_us + _CALIBRATION_US + self._slow_us
        self.image_band = (p[0] * 4, p[1] * 4)

    def _set_pa(self, p: bytes, now_us: int) -> None:
        if p[2] != int(self.sx1261) or p[3] != 1 or p[1] > 7 or p[0] > (7 if self.sx1261 else 4):
            self.wrong.append(f"SetPaConfig {p[:4].hex()} is outside of what the amplifier stands (13.1.14)")
        self._pa = p[:4]
        self.registers[0x08E7] = 0x18 if p[2] else 0x38

    def _set_fallback(self, p: bytes, now_us: int) -> None:
        self._fallback = {0x20: RC, 0x30: XOSC, 0x40: FS}.get(p[0], RC)

    def _set_irq(self, p: bytes, now_us: int) -> None:
        self._irq_mask, self._dio1_mask = p[0] << 8 | p[1], p[2] << 8 | p[3]
        self._line(now_us)

    def _clear_irq(self, p: bytes, now_us: int) -> None:
        self._irq &= ~(p[0] << 8 | p[1])
        self._line(now_us)

    def _set_dio2(self, p: bytes, now_us: int) -> None:
        self._dio2 = bool(p[0])

    def _set_dio3(self, p: bytes, now_us: int) -> None:
        self._dio3 = _TCXO_MV[p[0] & 7], round(int.from_bytes(p[1:4], "big") * _TICK_US)

    def _set_frequency(self, p: bytes, now_us: int) -> None:
        self._rf = int.from_bytes(p[:4], "big")

    def _set_packet_type(self, p: bytes, now_us: int) -> None:
        self.packet_type = p[0]

    def _set_tx_params(self, p: bytes, now_us: int) -> None:
        self._power = p[0] - 256 if p[0] & 0x80 else p[0]

    def _set_modulation(self, p: bytes, now_us: int) -> None:
        if not 5 <= p[0] <= 12 or p[1] not in _BANDWIDTH or not 1 <= p[2] <= 4:
            self._fail(5, 0x8B)
            return
        self._modulation = p[:4]

    def _set_packet(self, p: bytes, now_us: int) -> None:
        self._packet = p[:6]

    def _set_cad_params(self, p: bytes, now_us: int) -> None:
        self._cad = p[:7]

    def _set_base(self, p: bytes, now_us: int) -> None:
        self._tx_base, self._rx_base = p[0], p[1]

    def _clear_errors(self, p: bytes, now_us: int) -> None:
        self.errors = 0

    def _write_register(self, p: bytes, now_us: int) -> None:
        address = p[0] << 8 | p[1]
        for i, value in enumerate(p[2:]):
            self.registers[(address + i) % 4096] = value

    def _write_buffer(self, p: bytes, now_us: int) -> None:
        for i, value in enumerate(p[1:]):
            self.buffer[(p[0] + i) & 255] = value

    _TABLE: ClassVar[dict[int, Callable[[Sx126x, bytes, int], None]]] = {
        0x84: _set_sleep, 0x80: _set_standby, 0xC1: _set_fs, 0x83: _set_tx, 0x82: _set_rx, 0xC5: _set_cad, 0x96: _set_regulator,
        0x89: _calibrate, 0x98: _calibrate_image, 0x95: _set_pa, 0x93: _set_fallback, 0x08: _set_irq, 0x02: _clear_irq,
        0x9D: _set_dio2, 0x97: _set_dio3, 0x86: _set_frequency, 0x8A: _set_packet_type, 0x8E: _set_tx_params,
        0x8B: _set_modulation, 0x8C: _set_packet, 0x88: _set_cad_params, 0x8F: _set_base, 0x07: _clear_errors,
        0x0D: _write_register, 0x0E: _write_buffer,
    }  # fmt: skip

    # What it is set to

    def _tuning(self) -> Tuning:
        if self._set_to is None:
            high, low = self.registers[0x0740], self.registers[0x0741]
            self._set_to = Tuning(
                round(self._rf * 32_000_000 / (1 << 25)),
                self._modulation[0],
                _BANDWIDTH[self._modulation[1]],
                high & 0xF0 | low >> 4,
                bool(self._packet[5]),
            )
        return self._set_to

    def _own_airtime(self, n: int) -> int:
        sf, bw, coding, low_rate = self._modulation
        preamble, implicit, crc = int.from_bytes(self._packet[:2], "big"), bool(self._packet[2]), bool(self._packet[4])
        return airtime_us(
            n, sf, _BANDWIDTH[bw], preamble=preamble, coding=coding, crc=crc, implicit=implicit, low_rate=bool(low_rate)
        )

    def _dbm(self) -> float:
        """13.1.14 and 13.4.4; a few tens of dB less where the antenna switch is not thrown."""
        if self.sx1261:
            dbm = float(max(-17, min(14, self._power))) + (1 if self._pa[0] == 6 else 0)
        else:
            below = {(4, 7): 0, (3, 5): 2, (2, 3): 5, (2, 2): 8}.get((self._pa[0], self._pa[1]), 0)
            dbm = float(max(-9, min(22, self._power)) - below)
        return dbm - (30 if self.dio2_switch and not self._dio2 else 0) - (30 if self._rxen and self._rxen_on else 0)

    def _clean(self) -> bool:
        """Section 15: 15.1 quality of modulation, 15.2 antenna mismatch (SX1262), 15.4 inverted IQ."""
        bit = self.registers[0x0889] & 4
        wide = _BANDWIDTH[self._modulation[1]] == 500_000
        clamp = self.sx1261 or self.registers[0x08D8] & 0x1E == 0x1E
        polarity = bool(self.registers[0x0736] & 4) is not bool(self._packet[5])
        return bool(bit) is not wide and clamp and polarity

    # Reception

    def _noticed(self, now_us: int) -> None:
        self._raise(_PREAMBLE, now_us)

    def _headed(self, valid: bool, now_us: int) -> None:
        self._stats[2] += not valid
        self._raise(_PREAMBLE | (_HEADER if valid else _HEADER_ERR), now_us)
        if not valid and self._rx_single:
            self._rest(now_us)

    def _arrived(self, data: bytes, rssi: float, snr: float, crc_ok: bool, crc: bool, now_us: int) -> None:
        place = self._rx_next
        first = min(len(data), 256 - place)
        self.buffer[place : place + first] = data[:first]
        self.buffer[: len(data) - first] = data[first:]
        self._rx_next = (place + len(data)) & 255
        self._got = (len(data), place)
        level = max(0, min(255, round(-2 * rssi)))
        self._status = (level, round(snr * 4) & 0xFF, level)
        self._command_status = 2
        self._stats[0] += 1
        self._stats[1] += not crc_ok
        if self._rx_single:
            self._rest(now_us)
        self._raise(_RX_DONE | (0 if crc_ok else _CRC_ERR), now_us)

    def fall_to_standby(self, now_us: int) -> None:
        """A fault that is seen in the field: reception ends without a word."""
        self._forget(now_us)
        self.mode = RC
