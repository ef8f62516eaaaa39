"""SX1262. Semtech data sheet DS.SX1261-2, rev. 2.1; sections in brackets.

Of the known limitations (15): modulation quality (15.1) and antenna mismatch (15.2) and IQ polarity (15.4) are registers set
below; the timeout with implicit headers (15.3) cannot occur: headers are explicit and reception has no timeout. The status
is read off GetIrqStatus: GetStatus right after SetRx is known to upset the chip.
"""

from time import sleep_us

from micropython import const

from drivers import FAULT, IDENTITY, NACK, TIMEOUT, DriverError
from drivers.lora import BAD, CAD, RX, TX_DONE, Radio

_STEP_US = const(50)
_STEPS = const(600)  # 30 ms: a calibration takes 3.5, a TCXO 5
_SYNC = const(0x0740)
_TX_DONE = const(0x001)
_RX_DONE = const(0x002)
_PREAMBLE = const(0x004)
_HEADER = const(0x010)
_HEADER_ERROR = const(0x020)
_CRC_ERROR = const(0x040)
_CAD_DONE = const(0x080)
_CAD_HIT = const(0x100)
_DIO1 = const(0x0A3)
_CAD_PEAK = b"\x16\x16\x17\x18\x19\x1c"  # for SF 7-12 over 2 symbols, from SF 9 on 4 (AN1200.48)
_TCXO = b"\x10\x11\x12\x16\x18\x1b\x1e\x21"  # 100 mV (13.3.6)


class Sx126x(Radio):
    LEAST = -9
    MOST = 22

    def __init__(self, b, entry):
        super().__init__(b, entry)
        self._busy = b.pin("radio_busy", 1)
        self._band = 0
        self._slow = True

    def _wait(self) -> None:
        """Until BUSY is low (8.3.1)."""
        for _ in range(_STEPS):
            if not self._busy():
                return
            sleep_us(_STEP_US)
        raise DriverError(TIMEOUT)

    def _put(self, command, more=None) -> None:
        """What sets something keeps BUSY high for a while; what reads, or writes memory, for less than a microsecond (8.3.1)."""
        if self._slow:
            self._wait()
        self._slow = command[0] > 127
        self._cs(0)
        self._spi.write(command)
        if more is not None:
            self._spi.write(more)
        self._cs(1)

    def _do(self, *command) -> None:
        self._put(bytes(command))

    def _ask(self, op, high=0, low=0) -> bytearray:
        """A command of five bytes, and what came back meanwhile."""
        if self._slow:
            self._wait()
            self._slow = False
        data = self._data
        data[0] = op
        data[1] = high
        data[2] = low
        data[3] = data[4] = 0
        self._cs(0)
        self._spi.write_readinto(data, data)
        self._cs(1)
        return data

    def _or(self, high, low, bits):
        """Set bits of a register."""
        self._do(0x0D, high, low, self._ask(0x1D, high, low)[4] | bits)

    async def _start(self):
        entry = self._entry
        first = self._ask(0x1D, 7, 0x40)[4]
        second = self._ask(0x1D, 7, 0x41)[4]
        # The reset value of the sync word (12.1) is the nearest to an identity that there is.
        if first != 0x14 or second != 0x24:
            raise DriverError(NACK if first == second and first in (0, 255) else IDENTITY)
        self._do(0x96, 1)  # DC-DC
        tcxo = entry.get("tcxo_mv", 0)
        if tcxo:
            trim = 0
            while trim < 7 and _TCXO[trim] * 100 < tcxo:
                trim += 1
            self._do(0x97, trim, 0, 1, 64)  # stable after 320 x 15.625 us
        if entry.get("dio2_switch"):
            self._do(0x9D, 1)
        await self._calibrate()
        self._do(0x8A, 1)  # LoRa
        self._do(0x93, 0x30)  # after a transmission the oscillator goes on
        self._do(0x8F, 0, 0)
        self._do(8, 1, 0xF7, 0, 0xA3, 0, 0, 0, 0)  # DIO1: done, header error, CAD
        self._do(0x0D, 8, 0xAC, 0x96)  # boosted gain (9.6)
        self._or(8, 0x89, 0x04)  # 15.1, for all but 500 kHz
        self._or(8, 0xD8, 0x1E)  # 15.2
        self._or(7, 0x36, 0x04)  # 15.4, IQ not inverted

    async def _calibrate(self):
        """All blocks, which with a TCXO had failed at power-on (13.3.6); the image with the next channel."""
        self._band = 0
        self._do(0x80, 0)
        self._do(7, 0, 0)
        self._do(0x89, 0x7F)
        await self._b.sleep_ms(10)
        data = self._ask(0x17)
        if data[2] & 1 or data[3] & 0x7F:
            raise DriverError(FAULT)
        self._standby()

    def _tune(self, hz):
        band = 0xD7 if hz < 900000000 else 0xE1
        if self._band != band:
            self._do(0x98, band, band + (4 if band < 0xE1 else 8))  # image (9.2.1)
            self._band = band
        rf = (hz << 25) // 32000000
        self._do(0x86, rf >> 24, rf >> 16 & 255, rf >> 8 & 255, rf & 255)

    def _configure(self, hz, sf, dbm):
        self._tune(hz)
        self._do(0x95, 4, 7, 0, 1)  # amplifier for up to 22 dBm (13.1.14)
        self._do(0x8E, dbm & 255, 2)  # ramp of 40 us
        self._do(0x8B, sf, 4, 1, 1 if sf > 10 else 0)
        self._do(0x0D, 7, 0x40, 0x14, 0x24)  # private sync word
        self._do(0x88, 1 if sf < 9 else 2, _CAD_PEAK[sf - 7], 10, 0, 0, 0, 0)

    def _standby(self):
        self._do(0x80, 1)
        self._do(2, 0xFF, 0xFF)

    def _listen(self):
        self._do(0x8C, 0, 8, 0, 0xFF, 1, 0)
        self._do(0, 0, 0, 0, 0, 0, 0)  # statistics from 0
        self._do(0x82, 0xFF, 0xFF, 0xFF)

    def _load(self, data, n):
        self._do(0x8C, 0, 8, 0, n, 1, 0)
        self._put(b"\x0e\0", data)
        self._wait()

    def _send(self):
        self._do(0x83, 0, 0, 0)

    def _detect(self):
        self._do(0xC5)

    def _look(self):
        self._slow = True
        data = self._ask(0x12)
        if data[2] & 0xFC:
            return 0, 0
        if data[3] & _HEADER:
            self._do(2, 0, 0x10)
            self._heard()
        mode = data[1] >> 4 & 7
        return (1 if mode == 5 else 0), data[3] & _DIO1

    def hearing(self) -> bool:
        """Whether a preamble has come since the last question, or a frame is coming in."""
        flags = self._ask(0x12)[3] & (_PREAMBLE | _HEADER)
        if flags & _PREAMBLE:
            self._do(2, 0, 4)
        return flags > 0

    def _events(self, at):
        self._slow = True  # the chip may be changing its mode by itself
        self._total = self._ask(0x10)[3]
        data = self._ask(0x12)
        flags = data[2] << 8 | data[3]
        if data[2] & 0xFC:
            return None  # nobody there
        self._do(2, data[2], data[3])
        if flags & _HEADER:
            self._heard()
        if flags & _TX_DONE:
            return TX_DONE, at
        if flags & _CAD_DONE:
            return CAD, bool(flags & _CAD_HIT)
        if flags & (_HEADER_ERROR | _CRC_ERROR):
            return BAD, at
        if flags & _RX_DONE:
            data = self._ask(0x13)
            n = data[2]
            start = data[3]
            data = self._ask(0x14)
            rssi = -(data[2] >> 1)
            snr = data[3] - 256 if data[3] > 127 else data[3]
            self._cs(0)
            self._spi.write(bytes((0x1E, start, 0)))
            self._spi.readinto(self._view[:n])
            self._cs(1)
            return RX, at, rssi, snr, n
        return None


def open(b, entry):
    return Sx126x(b, entry)
