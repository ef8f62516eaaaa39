"""SX1276/77/78/79, antenna at PA_BOOST. Semtech data sheet rev. 7; sections in brackets; errata note rev. 1.1."""

from time import sleep_us

from micropython import const

from drivers import IDENTITY, NACK, TIMEOUT, DriverError
from drivers.lora import BAD, CAD, RX, TX_DONE, Radio

_FIFO = const(0x00)
_OP_MODE = const(0x01)
_FRF = const(0x06)
_PA_CONFIG = const(0x09)
_FIFO_AT = const(0x0D)
_FLAGS = const(0x12)
_CONFIG1 = const(0x1D)
_PAYLOAD = const(0x22)
_CONFIG3 = const(0x26)
_IMAGE = const(0x3B)
_DIO = const(0x40)
_VERSION = const(0x42)
_TCXO = const(0x4B)
_PA_DAC = const(0x4D)
_HEADER = const(0x10)
_CRC_ERROR = const(0x20)
# From RegFifoRxCurrentAddr (0x10) on in one go: to RegHopChannel (0x1C), flags, length, counts, SNR and RSSI between them.
_STATE = b"\x10\0\0\0\0\0\0\0\0\0\0\0\0\0"
_OSC_US = const(300)  # the oscillator takes 250 to wake from sleep (2.5.2)


class Sx127x(Radio):
    LEAST = 2
    MOST = 20

    def __init__(self, b, entry):
        super().__init__(b, entry)
        self._two = bytearray(2)
        self._got = bytearray(2)
        self._burst = bytearray(14)

    def _put(self, register, value) -> None:
        """Write a register, or several from it on."""
        self._cs(0)
        if isinstance(value, int):
            self._two[0] = register | 0x80
            self._two[1] = value
            self._spi.write(self._two)
        else:
            self._two[0] = register | 0x80
            self._spi.write(memoryview(self._two)[:1])
            self._spi.write(value)
        self._cs(1)

    def _get(self, register) -> int:
        self._two[0] = register
        self._cs(0)
        self._spi.write_readinto(self._two, self._got)
        self._cs(1)
        return self._got[1]

    async def _start(self):
        version = self._get(_VERSION)
        if version != 0x12:
            raise DriverError(NACK if version in (0, 255) else IDENTITY)
        self._put(_OP_MODE, 0)
        if self._entry.get("tcxo_mv"):
            self._put(_TCXO, 0x19)
        self._put(_FRF, b"\xd9\0\0")  # 868 MHz: at power-on it has calibrated itself for 434
        await self._calibrate()
        # Receive base 0, transmit base 0, all interrupts.
        self._put(0x0E, b"\0\0")
        self._put(0x11, 0)
        self._put(0x0C, 0x23)  # LNA: highest gain, boosted
        self._put(0x0B, 0x31)  # 140 mA (5.4.4)
        self._put(0x20, b"\0\x08\x01\xff")  # preamble, lengths
        self._put(0x36, 0x03)  # errata 2.1: as for all but 500 kHz
        self._put(0x31, 0x43)  # errata 2.3: automatic IF off; SF 7-12
        self._put(0x2F, b"\x40\0")  # errata 2.3: the IF for 125 kHz
        self._put(0x37, 0x0A)
        self._put(0x33, 0x27)
        self._put(_IMAGE, 0x1D)
        self._put(0x39, 0x12)

    async def _calibrate(self):
        """Image, in FSK standby without power and at the channel that is set (2.1.3.8)."""
        self._put(_PA_CONFIG, 0)
        self._put(_OP_MODE, 0x80)
        self._put(_OP_MODE, 0)  # only sleep takes another modem (4.1.6)
        self._put(_OP_MODE, 1)
        sleep_us(_OSC_US)
        self._put(_IMAGE, self._get(_IMAGE) | 0x40)
        for _ in range(30):
            await self._b.sleep_ms(2)
            if not self._get(_IMAGE) & 0x20:
                break
        else:
            raise DriverError(TIMEOUT)
        self._put(_OP_MODE, 0)
        self._put(_OP_MODE, 0x80)
        self._standby()
        sleep_us(_OSC_US)

    def _tune(self, hz):
        rf = (hz << 19) // 32000000
        self._put(_FRF, bytes((rf >> 16, rf >> 8 & 255, rf & 255)))

    def _configure(self, hz, sf, dbm):
        self._tune(hz)
        high = dbm > 17  # 5.4.3
        self._put(_PA_DAC, 0x87 if high else 0x84)
        self._put(_PA_CONFIG, 0x80 | dbm - (5 if high else 2))
        self._put(_CONFIG1, bytes((0x72, sf << 4 | 4)))
        self._put(_CONFIG3, 0x0C if sf > 10 else 0x04)

    def _standby(self):
        self._put(_OP_MODE, 0x81)
        self._put(_FLAGS, 255)

    def _listen(self):
        self._put(_DIO, 0x00)
        self._put(_OP_MODE, 0x85)

    def _load(self, data, n):
        self._put(_FIFO_AT, 0)
        self._put(_PAYLOAD, n)
        self._put(_FIFO, data)
        self._put(_DIO, 0x40)

    def _send(self):
        self._put(_OP_MODE, 0x83)

    def _detect(self):
        self._put(_DIO, 0x80)
        self._put(_OP_MODE, 0x87)

    def _look(self):
        mode = self._get(_OP_MODE)
        if mode & 0xF8 != 0x80:
            return 0, 0
        flags = self._get(_FLAGS)
        if flags & _HEADER:
            self._put(_FLAGS, _HEADER)
            self._heard()
        return (1 if mode == 0x85 else 0), flags & 0x4C

    def hearing(self) -> bool:
        """Whether a preamble or a frame is coming in: RegModemStat."""
        return self._get(0x18) & 0x0B > 0

    def _events(self, at):
        state = self._burst
        self._cs(0)
        self._spi.write_readinto(_STATE, state)
        self._cs(1)
        flags = state[3]
        if flags == 255:
            return None  # nobody there
        self._put(_FLAGS, flags)
        self._total = state[8]
        if flags & _HEADER:
            self._heard()
        if flags & 8:
            return TX_DONE, at
        if flags & 4:
            return CAD, bool(flags & 1)
        if not flags & 0x40:
            return None
        # A header that says that there is no CRC is none of ours.
        if flags & _CRC_ERROR or not state[13] & 0x40:
            return BAD, at
        n = state[4]
        snr = state[10]
        rssi = state[11]
        # 5.5.5
        if snr > 127:
            snr -= 256
            rssi += snr // 4
        else:
            rssi = rssi * 16 // 15
        self._put(_FIFO_AT, state[1])
        self._cs(0)
        self._spi.write(b"\0")
        self._spi.readinto(self._view[:n])
        self._cs(1)
        return RX, at, rssi - 157, snr, n


def open(b, entry):
    return Sx127x(b, entry)
