"""What the models of both LoRa transceivers share: pins, timers, faults, and the antenna that an ether connects to.

The ether's side: it sets `on_transmit`, `on_abort` and `channel_busy`, is told by `on_tune` when reception begins (and on what) or
ends, or asks `tuning(now_us)` what a radio can hear, and calls `deliver(...)` for each frame that reaches it. A radio knows nothing of distance or collisions; it refuses by itself what it
cannot have received: while it does not listen, began to listen after the preamble, or is locked to another frame.

Airtime is that of the SX1276 data sheet, rev. 7, section 4.1.1.7 (and AN1200.13).

| fault | effect while set |
|---|---|
| `gone`, `nack` | the chip does not answer: MISO floats at `floating`, its outputs are low; `gone` also loses its state |
| `busy_stuck` | the BUSY line stays high (SX126x) |
| `deaf` | hears nothing though its status says that it does: 1 until it is calibrated, 2 until it is reset, 3 until its supply goes |
| `silent` | its interrupt line stays low |
| `slow_ms` | every change of mode takes so many milliseconds longer |
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import NamedTuple

from felinar_sim.chips.base import Chip
from felinar_sim.clock import Clock, Timer
from felinar_sim.conditions import Conditions
from felinar_sim.pins import Pins

CS, RST, BUSY, IRQ = "radio_cs", "radio_rst", "radio_busy", "radio_irq"
RXEN, POWER = "radio_rxen", "radio_power"


MOST_SNR_DB = 12.0
"""Both chips tell no more of a frame from next door, about; their data sheets give the registers alone (8 bits, quarters of a dB)."""


class Tuning(NamedTuple):
    """What a radio is set to. `sync` is the SX127x's byte (0x12 private, 0x34 public); `hz` is what its synthesiser makes of
    the order, up to 61 Hz beside it."""

    hz: int
    sf: int
    bw: int
    sync: int
    inverted: bool

    def hears(self, other: Tuning) -> bool:
        """Whether a frame of the other can be received: the same modulation, a quarter of the bandwidth off at most."""
        return self[1:] == other[1:] and abs(self.hz - other.hz) * 4 <= self.bw


class Emission(NamedTuple):
    """One frame on the air, from the start of its preamble to its end; `dbm` at the antenna. `clean`: the chip was set up as
    its errata want it."""

    tuning: Tuning
    data: bytes
    start_us: int
    end_us: int
    dbm: float
    preamble: int = 8
    coding: int = 1
    crc: bool = True
    clean: bool = True


def airtime_us(
    n: int, sf: int, bw: int = 125_000, *, preamble: int = 8, coding: int = 1, crc: bool = True, implicit: bool = False,
    low_rate: bool | None = None,
) -> int:  # fmt: skip
    """Time on air of n bytes, µs; `coding` 1-4 stands for 4/5 to 4/8, `low_rate` None for what the symbol's length asks for."""
    symbol_us = (1 << sf) * 1e6 / bw
    if low_rate is None:
        low_rate = symbol_us > 16_000
    bits = 8 * n - 4 * sf + 28 + (16 if crc else 0) - (20 if implicit else 0)
    groups = max(-(-bits // (4 * (sf - (2 if low_rate else 0)))), 0)
    return round((preamble + 4.25 + 8 + groups * (coding + 4)) * symbol_us)


class LoraRadio(Chip):
    """A transceiver on SPI. `wrong` lists what the host did that the data sheet forbids; `emissions` what was sent."""

    PULLED_UP = frozenset((CS, RST))
    SELECTED = frozenset((CS,))
    OUTPUTS = frozenset((BUSY, IRQ))

    def __init__(self, *, rxen: bool = False, power_pin: bool = False, seed: int | str = 0) -> None:
        """`rxen`: the board's antenna switch needs a pin high to receive; `power_pin`: a pin switches the supply."""
        self.on_transmit: Callable[[Emission], None] = lambda emission: None
        self.on_abort: Callable[[Emission, int], None] = lambda emission, now_us: None
        self.on_tune: Callable[[Tuning | None, int], None] = lambda tuning, since_us: None
        self.channel_busy: Callable[[Tuning, int, int], bool] = lambda tuning, start_us, end_us: False
        self.emissions: list[Emission] = []
        self.wrong: list[str] = []
        self.received = self.missed = 0
        self.busy_stuck = self.silent = False
        self.deaf = 0
        self.floating = 0xFF
        self.resets = 0
        self._rxen, self._power_pin = rxen, power_pin
        self._rxen_on = False
        self._powered = not power_pin
        self._clock: Clock | None = None
        self._pins: Pins | None = None
        self._selected = False
        self._held = False  # in reset
        self._epoch = 0  # of the state: what was planned before it changed does not come
        self._emission: Emission | None = None
        self._since: int | None = None  # listening since
        self._locked_us = self._noticed_us = 0
        super().__init__(lambda now_us: Conditions(), seed)

    # The board's side

    def connect(self, clock: Clock, pins: Pins) -> None:
        """See `SpiPart`."""
        self._clock, self._pins = clock, pins
        pins.inputs[BUSY] = self.busy_level
        pins.inputs.setdefault(IRQ, 0)

    def supply(self, on: bool, now_us: int) -> None:
        """See `SpiPart`."""
        if on:
            if self.deaf == 3:
                self.deaf = 0
        else:
            self._forget(now_us)
            self._power_on(now_us)
        self._line(now_us)

    def pin(self, name: str, level: int, now_us: int) -> None:
        """See `PinListener`."""
        self._seen_us = now_us
        if name == CS:
            self._selected = not level
            if self._alive:
                self._select(not level, now_us)
        elif name == RST:
            self._held = not level
            if not level:
                self._forget(now_us)
            elif self._alive:
                self.resets += 1
                if self.deaf < 3:
                    self.deaf = 0
                self._power_on(now_us)
            self._line(now_us)
        elif name == RXEN:
            self._rxen_on = bool(level)
        elif name == POWER and self._power_pin:
            self._powered = bool(level)
            if not level:
                self._forget(now_us)
            elif self.deaf == 3:
                self.deaf = 0
            self._power_on(now_us)
            self._line(now_us)

    def transfer(self, data: bytes, now_us: int) -> bytes | None:
        """See `SpiPart`."""
        self._seen_us = now_us
        if not self._selected:
            return None
        if not self._alive or self._held:
            return bytes([self.floating]) * len(data)
        return self._shift(data, now_us)

    def idle(self) -> bool:
        """See `spi.Hasty`."""
        return True

    def foresee(self) -> bytes:
        """See `spi.Hasty`."""
        return b""

    def busy_level(self, now_us: int) -> int:
        """The BUSY line."""
        return 1 if self._alive and (self.busy_stuck or self._busy(now_us)) else 0

    # The ether's side

    def tuning(self, now_us: int) -> Tuning | None:
        """What it could receive at this moment; None when it doesn't listen."""
        if (
            self._since is None
            or now_us < self._since
            or not self._alive
            or self.deaf
            or (self._rxen and not self._rxen_on)
        ):
            return None
        return self._tuning()

    @property
    def listening_since(self) -> int | None:
        """Since when it has listened without a break, µs of Unix time."""
        return self._since

    def preamble(self, until_us: int) -> None:
        """Enough of a preamble to be noticed has come; its frame ends at `until_us`. `deliver` follows if it can be received."""
        now = self._require().now_us
        if self.tuning(now) is not None:
            self._noticed_us = until_us
            self._noticed(now)

    def deliver(
        self,
        data: bytes,
        rssi_dbm: float,
        snr_db: float,
        end_us: int,
        crc_ok: bool = True,
        *,
        header_ok: bool = True,
        crc: bool = True,
    ) -> None:
        """A frame that ends at `end_us` reaches the antenna: call it when the header has passed, or at the latest at the end.

        `crc_ok` False: what was received is not what was sent. `header_ok` False: not even its length is known. `crc` False: its
        header says that it has none.
        """
        snr_db = min(snr_db, MOST_SNR_DB)
        t = self._tuning()
        symbol_us = (1 << t.sf) * 1e6 / t.bw
        start_us = end_us - self._own_airtime(len(data))
        header_us = start_us + round((8 + 4.25 + 8) * symbol_us)
        latest_us = start_us + round(3 * symbol_us)  # five symbols of the preamble must be left
        self._when(
            min(header_us, end_us),
            lambda: self._header(bytes(data), rssi_dbm, snr_db, end_us, crc_ok or not crc, header_ok, crc, latest_us),
        )

    def _when(self, when_us: int, action: Callable[[], None]) -> None:
        """Do it at a moment, at once when that is now or past."""
        clock = self._require()
        if when_us > clock.now_us:
            clock.at(when_us, action)
        else:
            action()

    def _header(
        self,
        data: bytes,
        rssi: float,
        snr: float,
        end_us: int,
        crc_ok: bool,
        header_ok: bool,
        crc: bool,
        latest_us: int,
    ) -> None:
        now = self._require().now_us
        if self.tuning(now) is None or self._since is None or self._since > latest_us or now < self._locked_us:
            self.missed += 1
            return
        epoch = self._epoch
        self._locked_us = end_us if header_ok else now
        self._headed(header_ok, now)
        if not header_ok:
            self.missed += 1
            return

        def arrive() -> None:
            if self._epoch != epoch or self.tuning(end_us) is None:
                self.missed += 1
                return
            self.received += 1
            self._arrived(data, rssi, snr, crc_ok, crc, end_us)

        self._when(end_us, arrive)

    @property
    def gone(self) -> bool:
        """See `Chip`; its outputs go low with it."""
        return self._gone

    @gone.setter
    def gone(self, value: bool) -> None:
        now = self._clock.now_us if self._clock is not None else self._seen_us
        self._seen_us = max(self._seen_us, now)
        if value:
            self._forget(now)
        elif self._gone:
            self._power_on(now)
        self._gone = bool(value)
        self._line(now)

    # For the subclasses

    @property
    def _alive(self) -> bool:
        return self._powered and not self._gone and not self.nack

    def _require(self) -> Clock:
        if self._clock is None:
            raise ValueError("a radio must be connected to a clock and to pins before it is used")
        return self._clock

    def _plan(self, when_us: int, action: Callable[[], None]) -> Timer:
        """An action that is forgotten when the state changes before."""
        epoch = self._epoch

        def act() -> None:
            if epoch == self._epoch:
                action()

        return self._require().at(when_us, act)

    def _forget(self, now_us: int) -> None:
        """The state ends: what was planned is void, what is on the air stops."""
        self._epoch += 1
        if self._since is not None:
            self._since = None
            self.on_tune(None, now_us)
        self._locked_us = self._noticed_us = 0
        emission, self._emission = self._emission, None
        if emission is not None and now_us < emission.end_us:
            self.on_abort(emission, now_us)

    def _open(self, since_us: int) -> None:
        """Reception begins."""
        self._since = since_us
        self.on_tune(self._tuning(), since_us)

    def _emit(self, emission: Emission) -> None:
        self._emission = emission
        self.emissions.append(emission)
        self.on_transmit(emission)

    def _line(self, now_us: int) -> None:
        """Bring the interrupt line to the level that the flags ask for."""
        if self._pins is not None:
            level = self._alive and not self._held and not self.silent and self._wants_irq()
            self._pins.put(IRQ, int(level), now_us)

    @abstractmethod
    def _select(self, selected: bool, now_us: int) -> None:
        """Chip select has changed."""

    @abstractmethod
    def _shift(self, data: bytes, now_us: int) -> bytes:
        """Bytes come while it is selected; what goes out."""

    @abstractmethod
    def _busy(self, now_us: int) -> bool:
        """Whether BUSY is high."""

    @abstractmethod
    def _wants_irq(self) -> bool:
        """Whether the flags ask for the interrupt line to be high."""

    @abstractmethod
    def _tuning(self) -> Tuning:
        """What the registers say."""

    @abstractmethod
    def _own_airtime(self, n: int) -> int:
        """Airtime of n bytes with the modulation that is set, µs."""

    def _noticed(self, now_us: int) -> None:
        """A preamble has been noticed."""

    @abstractmethod
    def _headed(self, valid: bool, now_us: int) -> None:
        """A header has been received."""

    @abstractmethod
    def _arrived(self, data: bytes, rssi: float, snr: float, crc_ok: bool, crc: bool, now_us: int) -> None:
        """A frame has been received to its end."""
