"""Semtech SX1276/77/78/79: registers, FIFO, DIO0, in LoRa mode; of the FSK modem only what calibrates the image.

Source: data sheet SX1276/77/78/79, rev. 7 (May 2020): LoRa operation 4.1, modes 4.1.6 and table 16, FIFO 4.1.2.3, interrupts
4.1.2.4 and table 18 (DIO mapping), registers 6.4, RSSI 5.5.5, power 5.4.2 and 5.4.3, reset 7.2, start-up times 2.5.2
(TS_OSC 250 µs, TS_FS 60 µs) and 4.2.5; errata note rev. 1.1 (SX1276/77/78): 2.1 sensitivity at 500 kHz, 2.3 spurious reception.
RegInvertIq reads 0x27 in LoRa mode and its bit 0 is inverted against the table (see the SX1276 reference drivers).

The modem is chosen by bit 7 of RegOpMode, which only sleep mode takes; registers 0x0D-0x3F exist once for each modem. The FIFO
is lost in sleep and cannot be read there. A mode is entered at once as far as RegOpMode tells; it works when its time has passed.
Not modelled: frequency hopping, FSK packets, the temperature sensor.
"""

from __future__ import annotations

from felinar_sim.chips.radio import Emission, LoraRadio, Tuning, airtime_us

SLEEP, STANDBY, FS_TX, TX, FS_RX, RX, RX_SINGLE, CAD = range(8)
"""Modes, as the low bits of RegOpMode."""

_RX_TIMEOUT, _RX_DONE, _CRC_ERROR, _HEADER, _TX_DONE, _CAD_DONE, _CAD_HIT = 0x80, 0x40, 0x20, 0x10, 8, 4, 1
_OSC_US, _FS_US, _RX_US, _RESET_US = 250, 60, 71, 5000
_IMAGE_US = 10_000
_RAMP_US = (3400, 2000, 1000, 500, 250, 125, 100, 62, 50, 40, 31, 25, 20, 15, 12, 10)
_BANDWIDTH = (7_800, 10_400, 15_600, 20_800, 31_250, 41_700, 62_500, 125_000, 250_000, 500_000)
_LORA_RESET = {
    0x0D: 0x00, 0x0E: 0x80, 0x0F: 0x00, 0x10: 0x00, 0x11: 0x00, 0x1D: 0x72, 0x1E: 0x70, 0x1F: 0x64, 0x20: 0x00, 0x21: 0x08,
    0x22: 0x01, 0x23: 0xFF, 0x24: 0x00, 0x26: 0x04, 0x2F: 0x20, 0x30: 0x00, 0x31: 0xC3, 0x33: 0x27, 0x36: 0x03, 0x37: 0x0A,
    0x39: 0x12, 0x3A: 0x49, 0x3B: 0x1D,
}  # fmt: skip
_FSK_RESET = {0x3B: 0x82}
_COMMON_RESET = {
    0x01: 0x09, 0x06: 0x6C, 0x07: 0x80, 0x08: 0x00, 0x09: 0x4F, 0x0A: 0x09, 0x0B: 0x2B, 0x0C: 0x20, 0x40: 0x00, 0x41: 0x00,
    0x42: 0x12, 0x4B: 0x09, 0x4D: 0x84,
}  # fmt: skip
_READ_ONLY = frozenset((0x10, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x19, 0x1A, 0x1B, 0x1C, 0x25, 0x42))


class Sx127x(LoraRadio):
    """One chip on its module, which has its antenna at PA_BOOST. `version` is what RegVersion reads; `tcxo`: the module has one."""

    def __init__(self, *, tcxo: bool = False, rxen: bool = False, power_pin: bool = False, seed: int | str = 0) -> None:
        self.version = 0x12
        self.tcxo = tcxo
        super().__init__(rxen=rxen, power_pin=power_pin, seed=seed)

    def _power_on(self, now_us: int) -> None:
        self._forget(now_us)
        self._common = bytearray(128)
        self._lora = bytearray(128)
        self._fsk = bytearray(128)
        for page, values in ((self._common, _COMMON_RESET), (self._lora, _LORA_RESET), (self._fsk, _FSK_RESET)):
            for address, value in values.items():
                page[address] = value
        self._common[0x42] = self.version
        self.fifo = bytearray(256)
        self.calibrated_hz: int | None = None
        self._irq = 0
        self._address: int | None = None
        self._writing = False
        self._rx_next = 0
        self._ready_us = now_us + _RESET_US + self._slow_us
        self._image_until = self._awake_us = 0

    # Lines

    def _busy(self, now_us: int) -> bool:
        return False  # it has no such line

    @property
    def mode(self) -> int:
        """The mode, as RegOpMode tells it."""
        return self._common[0x01] & 7

    @property
    def in_lora(self) -> bool:
        """Whether the LoRa modem is chosen."""
        return bool(self._common[0x01] & 0x80)

    def register(self, address: int) -> int:
        """A register as the LoRa modem has it."""
        return self._lora[address] if 0x0D <= address <= 0x3F else self._common[address]

    def _wants_irq(self) -> bool:
        wanted = (_RX_DONE, _TX_DONE, _CAD_DONE, 0)[self._common[0x40] >> 6]
        return self.in_lora and bool(self._irq & ~self._lora[0x11] & wanted)

    def _raise(self, flags: int, now_us: int) -> None:
        self._irq |= flags & ~self._lora[0x11]
        self._line(now_us)

    # SPI

    def _select(self, selected: bool, now_us: int) -> None:
        self._address = None

    def _shift(self, data: bytes, now_us: int) -> bytes:
        out = bytearray()
        for byte in data:
            if self._address is None:
                self._address, self._writing = byte & 0x7F, bool(byte & 0x80)
                out.append(0)
                continue
            address = self._address
            out.append(self._read(address, now_us))
            if self._writing and now_us >= self._ready_us:
                self._write(address, byte, now_us)
            elif not self._writing and address == 0 and self.mode != SLEEP:
                self._lora[0x0D] = (self._lora[0x0D] + 1) & 255
            if address:
                self._address = (address + 1) & 0x7F
        return bytes(out)

    def _page(self, address: int) -> bytearray:
        if not 0x0D <= address <= 0x3F:
            return self._common
        op = self._common[0x01]
        return self._lora if op & 0x80 and not op & 0x40 else self._fsk

    def _read(self, address: int, now_us: int) -> int:
        if now_us < self._ready_us:
            return 0
        if address == 0:
            return self.fifo[self._lora[0x0D]] if self.mode != SLEEP else 0
        page = self._page(address)
        if page is self._fsk and address == 0x3B:
            return page[address] & ~0x60 | (0x20 if now_us < self._image_until else 0)
        if page is self._lora:
            if address == 0x12:
                return self._irq
            if address == 0x18:
                return 0x01 if max(self._locked_us, self._noticed_us) > now_us else 0x10
            if address == 0x1B:
                return 40
        return page[address]

    def _write(self, address: int, value: int, now_us: int) -> None:
        if address == 0:
            if self.mode == SLEEP:
                self.wrong.append("FIFO written in sleep mode")
                return
            self.fifo[self._lora[0x0D]] = value
            self._lora[0x0D] = (self._lora[0x0D] + 1) & 255
            return
        page = self._page(address)
        if address == 0x01:
            self._operate(value, now_us)
        elif page is self._lora and address == 0x12:
            self._irq &= ~value
            self._line(now_us)
        elif page is self._fsk and address == 0x3B:
            page[address] = value & 0x9F
            if value & 0x40:
                self._calibrate_image(now_us)
        elif not (page is not self._fsk and address in _READ_ONLY):
            page[address] = value
            if address in (0x11, 0x40):
                self._line(now_us)

    def _calibrate_image(self, now_us: int) -> None:
        """Section 2.1.3.8: in FSK standby, at the frequency that is set."""
        if self.in_lora or self.mode != STANDBY or now_us < self._awake_us:
            self.wrong.append("image calibration outside of FSK standby")
            return
        self._image_until = now_us + _IMAGE_US + self._slow_us
        self.calibrated_hz = self._hz
        if self.deaf == 1:
            self.deaf = 0

    # Modes

    def _operate(self, value: int, now_us: int) -> None:
        op = self._common[0x01]
        was = op & 7
        if (value ^ op) & 0x80 and was != SLEEP:
            self.wrong.append("modem changed outside of sleep mode")
            value = value & 0x7F | op & 0x80
        mode = value & 7
        if mode > FS_RX and not value & 0x80:
            self.wrong.append("FSK reception is not modelled")
        if mode == RX and was == RX and not (value ^ op) & 0x80:
            self._common[0x01] = value
            return
        self._forget(now_us)
        self._common[0x01] = value
        if was == SLEEP != mode:
            self._awake_us = now_us + _OSC_US
        if mode == SLEEP:
            self.fifo = bytearray(256)
            return
        when = now_us + self._slow_us + (_OSC_US if was == SLEEP else 0)
        if not value & 0x80 or mode == STANDBY:
            return
        if was != (FS_TX if mode == TX else FS_RX):
            when += _FS_US
        if mode == TX:
            self._send(when + 5 + _RAMP_US[self._common[0x0A] & 15] * 5 // 4)
        elif mode in (RX, RX_SINGLE):
            self._rx_next = self._lora[0x0F]
            self._lora[0x14:0x18] = bytes(4)
            self._open(when + _RX_US)
            if mode == RX_SINGLE:
                symbols = (self._lora[0x1E] & 3) << 8 | self._lora[0x1F]
                due = when + _RX_US + round(symbols * self._symbol_us)
                self._plan(due, lambda: self._timed_out(due))
        elif mode == CAD:
            self._detect(when + _RX_US)

    def _to_standby(self, now_us: int) -> None:
        self._forget(now_us)
        self._common[0x01] = self._common[0x01] & 0xF8 | STANDBY

    def _send(self, ready: int) -> None:
        size = self._lora[0x22]
        base = self._lora[0x0E]
        data = bytes(self.fifo[(base + i) & 255] for i in range(size))
        end = ready + self._own_airtime(size)
        preamble = self._lora[0x20] << 8 | self._lora[0x21]
        emission = Emission(
            self._tuning(True), data, ready, end, self._dbm(), preamble, self._lora[0x1D] >> 1 & 7,
            bool(self._lora[0x1E] & 4), True,
        )  # fmt: skip
        self._plan(ready, lambda: self._emit(emission))

        def sent() -> None:
            self._emission = None
            self._to_standby(end)
            self._raise(_TX_DONE, end)

        self._plan(end, sent)

    def _timed_out(self, now_us: int) -> None:
        if now_us >= self._locked_us:
            self._to_standby(now_us)
            self._raise(_RX_TIMEOUT, now_us)

    def _detect(self, ready: int) -> None:
        """4.1.6: one symbol is listened to and then correlated; about two in all."""
        t = self._tuning()
        listened = ready + round(self._symbol_us)
        done = ready + round(1.9 * self._symbol_us)

        def finish() -> None:
            deaf = self.deaf or (self._rxen and not self._rxen_on)
            hit = not deaf and self.channel_busy(t, ready, listened)
            self._to_standby(done)
            self._raise(_CAD_DONE | (_CAD_HIT if hit else 0), done)

        self._plan(done, finish)

    # What it is set to

    @property
    def _hz(self) -> int:
        return round(int.from_bytes(self._common[0x06:0x09], "big") * 32_000_000 / (1 << 19))

    @property
    def _symbol_us(self) -> float:
        t = self._tuning()
        return (1 << t.sf) * 1e6 / t.bw

    def _tuning(self, sending: bool = False) -> Tuning:
        iq = self._lora[0x33]
        inverted = not iq & 1 if sending else bool(iq & 0x40)
        bw = _BANDWIDTH[min(self._lora[0x1D] >> 4, 9)]
        return Tuning(self._hz, max(6, min(12, self._lora[0x1E] >> 4)), bw, self._lora[0x39], inverted)

    def _own_airtime(self, n: int) -> int:
        t = self._tuning()
        return airtime_us(
            n, t.sf, t.bw, preamble=self._lora[0x20] << 8 | self._lora[0x21], coding=self._lora[0x1D] >> 1 & 7,
            crc=bool(self._lora[0x1E] & 4), implicit=bool(self._lora[0x1D] & 1), low_rate=bool(self._lora[0x26] & 8),
        )  # fmt: skip

    def _dbm(self) -> float:
        """5.4.2, 5.4.3; the antenna is not at RFO, from which next to nothing comes."""
        pa = self._common[0x09]
        if not pa & 0x80:
            return -30.0
        dbm = float(2 + (pa & 15)) + (3 if self._common[0x4D] & 7 == 7 else 0)
        return dbm - (30 if self._rxen and self._rxen_on else 0)

    @property
    def clean(self) -> bool:
        """Whether the receiver is set up as the errata note wants it: 2.1 for 500 kHz, 2.3 for all else."""
        t, r = self._tuning(), self._lora
        if t.bw == 500_000:
            return bool(r[0x31] & 0x80) and (r[0x36], r[0x3A]) == (0x02, 0x64)
        interfrequency = 0x48 if t.bw == 7_800 else 0x44 if t.bw < 50_000 else 0x40
        return not r[0x31] & 0x80 and (r[0x2F], r[0x30]) == (interfrequency, 0) and r[0x36] == 0x03

    def _xosc_fits(self) -> bool:
        return not self.tcxo or bool(self._common[0x4B] & 0x10)

    # Reception

    def _headed(self, valid: bool, now_us: int) -> None:
        if valid:
            self._raise(_HEADER, now_us)
            count = (self._lora[0x14] << 8 | self._lora[0x15]) + 1
            self._lora[0x14], self._lora[0x15] = count >> 8 & 255, count & 255

    def _arrived(self, data: bytes, rssi: float, snr: float, crc_ok: bool, crc: bool, now_us: int) -> None:
        lora = self._lora
        place = self._rx_next
        for i, value in enumerate(data):
            self.fifo[(place + i) & 255] = value
        self._rx_next = (place + len(data)) & 255
        lora[0x10], lora[0x13], lora[0x25] = place, len(data), self._rx_next
        lora[0x1C] = 0x40 if crc else 0
        if crc_ok:
            count = (lora[0x16] << 8 | lora[0x17]) + 1
            lora[0x16], lora[0x17] = count >> 8 & 255, count & 255
        quarters = max(-128, min(127, round(snr * 4)))
        lora[0x19] = quarters & 0xFF
        raw = (rssi + 157) * 15 / 16 if snr >= 0 else rssi + 157 - quarters / 4
        lora[0x1A] = max(0, min(255, round(raw)))
        if self.mode == RX_SINGLE:
            self._to_standby(now_us)
        self._raise(_RX_DONE | (0 if crc_ok else _CRC_ERROR), now_us)

    def tuning(self, now_us: int) -> Tuning | None:
        return super().tuning(now_us) if self.in_lora and self._xosc_fits() else None

    def fall_to_standby(self, now_us: int) -> None:
        """A fault: reception ends without a word."""
        self._to_standby(now_us)
