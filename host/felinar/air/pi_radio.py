"""An RFM9x (SX1276) on this machine's pins: Adafruit's library, set as the firmware's driver sets the same chip, led by interrupts.

`felinar_air.modem` uses `Radio` as a bridge's firmware uses its driver. Sections are those of Semtech's data sheet SX1276/77/78/79
rev. 7; errata are those of its note rev. 1.1. What the library does otherwise, or not at all, is set through its registers:

- It adds four bytes to each frame, destination, node, identifier and flags: they are the first four of ours.
- `send` and `receive` read a flag over and over until they are done. Here the waits inside of them end with the interrupt.
- Its power is 3 dB less than it says: 17 - (15 - OutputPower) dBm at PA_BOOST (5.4.2), where it sets OutputPower to dBm - 5.
- It calibrates the image where the chip wakes, at 434 MHz, and leaves the limit of current, the gain and the sync word as they are.
- All radios of a process share one buffer, which is no good with a thread for each.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from adafruit_rfm9x import RFM9x
from felinar_air.modem import after
from felinar_air.plan import airtime

from felinar.air.pi_pins import Pins
from felinar.errors import LinkError

RX, TX_DONE, BAD = 1, 2, 3
"""What `poll` tells, as in drivers.lora."""
TIMEOUT, FAULT = 3, 6
"""Reasons of a RadioError, as in drivers: it was too late for a transmission, anything else."""
LEAST_BYTES = 5
"""Of a frame, both ways: the library takes shorter ones for none of its own."""
MOST_DBM = 20
US = (1 << 30) - 1
"""A bridge's time is so many bits of µs."""

_LEAST_DBM = 2
_WAKE_HZ = 868_000_000
_AHEAD_NS = 200_000  # the last command, its transfer, and the ramp of the amplifier
_LATE_NS = 3_000_000
_SPIN_NS = 300_000
_EDGE_S = 0.1
_QUIET_NS = 300_000_000_000  # silence that is not believed where frames are due
_FRF_HZ = 32e6 / (1 << 19)

_OP_MODE, _OCP, _LNA, _FLAGS, _HOP, _IMAGE, _SYNC = 0x01, 0x0B, 0x0C, 0x12, 0x1C, 0x3B, 0x39
_RX_MODE, _TX_MODE = 0x85, 0x83
_RX_DONE, _TX_END = 0x40, 0x08


class RadioError(LinkError):
    """The radio is not there, or does not do what it is told; `reason` TIMEOUT: the time at which to send has passed."""

    def __init__(self, sentence: str, remedy: str = "", *, reason: int = FAULT) -> None:
        super().__init__(sentence, remedy)
        self.reason = reason


DriverError = RadioError


class Chip(RFM9x):  # type: ignore[misc]
    """The library's radio with waits that an interrupt ends. `on_wait` is called when `Pins.wake` ended one; `done_ns` is
    when the last transmission ended, `missed` counts interrupts that did not come."""

    def __init__(self, pins: Pins) -> None:
        self._BUFFER = bytearray(4)  # of its own
        self._pins = pins
        self.at_ns = self.done_ns = self.missed = 0
        self.on_wait: Callable[[], None] = lambda: None
        super().__init__(pins.spi, pins.cs, pins.reset, _WAKE_HZ / 1e6, agc=True)
        self._calibrate()
        self._set_up()

    def _calibrate(self) -> None:
        """The image, in FSK standby without power, at the channel that is set (2.1.3.8)."""
        self.pa_select = self.max_power = self.output_power = 0
        self.sleep()
        self.long_range_mode = False
        self.idle()
        self._pins.sleep(0.0003)
        self._write_u8(_IMAGE, self._read_u8(_IMAGE) | 0x40)
        for _ in range(30):
            self._pins.sleep(0.002)
            if not self._read_u8(_IMAGE) & 0x20:
                break
        else:
            raise RuntimeError("its calibration does not end")
        self.sleep()
        self.long_range_mode = True
        self.idle()
        self._pins.sleep(0.0003)

    def _set_up(self) -> None:
        self._write_u8(0x0E, 0)  # FIFO: both bases at 0
        self._write_u8(0x0F, 0)
        self._write_u8(0x11, 0)  # every interrupt
        self._write_u8(_LNA, 0x23)  # highest gain, boosted
        self._write_u8(_OCP, 0x31)  # 140 mA (5.4.4)
        self.preamble_length = 8
        self.signal_bandwidth = 125_000  # with errata 2.1 and 2.3
        self.coding_rate = 5
        self.enable_crc = True
        self.auto_agc = True
        self._write_u8(0x1D, 0x72)  # explicit header
        self._write_u8(0x22, 1)
        self._write_u8(0x23, 0xFF)
        self._write_u8(0x33, 0x27)  # IQ as it is, both ways
        self._write_u8(_IMAGE, 0x1D)
        self._write_u8(_SYNC, 0x12)

    def tune(self, hz: int, sf: int, dbm: int) -> None:
        """Channel, spreading factor and power at the antenna, from standby."""
        self.frequency_mhz = ((hz << 19) // 32_000_000 + 0.5) * _FRF_HZ / 1e6  # the library rounds down
        self.max_power = 0
        self.tx_power = dbm + 3
        self.spreading_factor = sf
        self.low_datarate_optimize = int(sf > 10)

    def clear(self) -> None:
        """Standby, with no flag up."""
        self.idle()
        self._write_u8(_FLAGS, 0xFF)

    def mode(self) -> int:
        """The mode that it says it is in."""
        return int(self._read_u8(_OP_MODE))

    def finished(self) -> bool:
        """Whether a reception has ended, by its flag."""
        return self._flag(_RX_DONE)

    def _flag(self, flag: int) -> bool:
        flags = int(self._read_u8(_FLAGS))
        return bool(flags & flag) and flags != 0xFF  # so reads a chip that is not there

    def checked(self) -> bool:
        """Whether the last frame's header says that it has a CRC."""
        return bool(self._read_u8(_HOP) & 0x40)

    def transmit(self) -> None:
        """At its time, in place of at once. `send` calls it."""
        self.dio0_mapping = 1
        while (left := self.at_ns - self._pins.now_ns()) > 0:
            self._pins.sleep(0 if left < _SPIN_NS else (left - _SPIN_NS) / 1e9)
        if -left > _LATE_NS:
            raise RadioError("A frame was not sent, as its time had passed.", reason=TIMEOUT)
        self._write_u8(_OP_MODE, _TX_MODE)

    def tx_done(self) -> bool:
        """Sleep until the interrupt. `send` asks it over and over."""
        begin = self._pins.now_ns()
        self._pins.wait(_EDGE_S)
        edges = self._pins.edges()
        if edges:
            self.done_ns = edges[-1]
            return True
        self.on_wait()
        if self._pins.now_ns() - begin >= _EDGE_S * 1e9 and self._flag(_TX_END):
            self.missed += 1
            self.done_ns = self._pins.now_ns()
            return True
        return False


class Radio:
    """A driver as `felinar_air.modem.Modem` wants it; what fails raises RadioError. One thread at a time.

    Counters: `lost` frames that nobody had asked for in time, `missed` interrupts that did not come, `resets` of a radio that was
    deaf or in another mode than it was put into.
    """

    def __init__(self, pins: Pins, name: str) -> None:
        self._pins = pins
        self._name = name
        self._chip: Chip | None = None
        self._edges: list[int] = []
        self._events: list[tuple[int, ...]] = []
        self._tuned: tuple[int, int, int] | None = None
        self._listening = False
        self._quiet = pins.now_ns()
        self.buffer = bytearray(255)
        self.on_wait: Callable[[], None] = lambda: None
        self.lost = self.missed = self.resets = 0

    def us(self) -> int:
        """The bridge's time."""
        return self._pins.now_ns() // 1000 & US

    def start(self) -> None:
        """Reset and set up; `configure` comes next. May be called again after an error."""
        self._listening = False
        self._tuned = None
        self._events.clear()
        self._chip = self._do(lambda: Chip(self._pins))
        self._chip.on_wait = lambda: self.on_wait()
        self._take_edges()
        self._edges.clear()
        self._quiet = self._pins.now_ns()

    def configure(self, hz: int, sf: int, dbm: int) -> None:
        """Channel, spreading factor and power at the antenna (2 to 20 dBm, else the nearest); listening ends."""
        chip = self._there()
        self._stop()
        if self._tuned != (hz, sf, dbm):
            self._tuned = None
            self._do(lambda: chip.tune(hz, sf, max(_LEAST_DBM, min(MOST_DBM, dbm))))
            self._tuned = hz, sf, dbm

    def listen(self) -> None:
        """Receive from now on."""
        chip = self._there()
        self._stop()
        self._do(chip.listen)
        self._listening = True

    def transmit(self, data: bytes, at: int) -> None:
        """Send at a moment of the bridge's time, and wait for the end. RadioError, TIMEOUT when it is too late for it."""
        chip, tuned = self._there(), self._tuned
        if tuned is None or not LEAST_BYTES <= len(data) <= 255:
            raise RadioError(f"The radio {self._name} can't send {len(data)} bytes.")
        self._stop()
        now = self._pins.now_ns()
        chip.at_ns = now + after(at, now // 1000 & US) * 1000 - _AHEAD_NS
        chip.xmit_timeout = airtime(tuned[1], len(data)) / 1e6 + 0.2
        try:
            sent = self._do(
                lambda: chip.send(data[4:], destination=data[0], node=data[1], identifier=data[2], flags=data[3])
            )
        finally:
            self.missed += chip.missed
            chip.missed = 0
        if not sent:
            raise RadioError(f"The radio {self._name} does not end a transmission.", "Is its supply strong enough?")
        self._events.append((TX_DONE, chip.done_ns // 1000 & US))

    @property
    def pending(self) -> bool:
        """Whether `poll` has something to tell."""
        self._take_edges()
        return bool(self._events or self._edges)

    def poll(self) -> tuple[int, ...] | None:
        """None, (RX, at_us, rssi_dbm, snr_quarters, n) with the frame in `buffer[:n]`, (TX_DONE, at_us) or (BAD, at_us)."""
        if self._events:
            return self._events.pop(0)
        self._take_edges()
        if not self._edges or not self._listening:
            return None
        at = self._edges.pop(0) // 1000 & US
        event: tuple[int, ...] | None = self._do(lambda: self._receive(self._there(), at))
        return event

    def _receive(self, chip: Chip, at: int) -> tuple[int, ...] | None:
        if not chip.finished():
            return None
        self._quiet = self._pins.now_ns()
        checked = chip.checked()
        data = chip.receive(with_header=True, timeout=0)
        # A header that says that there is no CRC is none of ours.
        if data is None or not checked:
            return BAD, at
        n = len(data)
        self.buffer[:n] = data
        raw, snr = chip.last_rssi + 157, round(chip.last_snr * 4)
        rssi = raw + snr // 4 if snr < 0 else raw * 16 // 15  # 5.5.5
        return RX, at, rssi - 157, snr, n

    def tend(self, expected: bool) -> str:
        """See after the chip, every few seconds; `expected`: frames should be heard. What was wrong, "" when nothing was:
        then `start`, `configure` and `listen`."""
        if self.pending or not self._listening:
            return ""
        chip = self._there()
        if self._do(chip.mode) != _RX_MODE:
            self.resets += 1
            return "the radio was in another mode"
        if self._do(chip.finished):
            self._take_edges()
            if not self._edges:
                self.missed += 1
                self._edges.append(self._pins.now_ns())
            return ""
        if not expected:
            self._quiet = self._pins.now_ns()
        elif self._pins.now_ns() - self._quiet > _QUIET_NS:
            self.resets += 1
            return "the radio has heard nothing for five minutes"
        return ""

    def stop(self) -> None:
        """Send and hear nothing any more."""
        self._listening = False
        if self._chip is not None:
            self._do(self._chip.sleep)

    def _take_edges(self) -> None:
        self._edges += self._do(self._pins.edges)

    def _stop(self) -> None:
        """Standby. A frame that nobody has asked for is lost."""
        chip = self._there()
        self._listening = False
        self._do(chip.clear)
        self._take_edges()
        self.lost += len(self._edges)
        self._edges.clear()

    def _there(self) -> Chip:
        if self._chip is None:
            raise RadioError(f"The radio {self._name} was not started.")
        return self._chip

    def _do(self, work: Callable[[], Any]) -> Any:
        try:
            return work()
        except (OSError, RuntimeError, AssertionError, ValueError) as error:
            raise RadioError(
                f"The radio {self._name} does not answer as an RFM9x does: {str(error).rstrip('. ') or type(error).__name__}.",
                "Is SPI on (raspi-config), does the HAT sit well, and do cs and reset fit it?",
            ) from error
