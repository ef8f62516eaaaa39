"""The board's SPI controllers: which chip they reach, and how long a transfer takes."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from felinar_sim.clock import Clock
from felinar_sim.link import DONE, Answer, Frame
from felinar_sim.pins import Pins

_CALL_US = 20  # the driver's own time for a transfer
_HEAR, _SAME = 128, 64


@runtime_checkable
class SpiPart(Protocol):
    """A chip on SPI mode 0. It is selected by a pin that it listens to itself."""

    PULLED_UP: frozenset[str]
    """Its inputs that read 1 while the board does not drive them, by pin name."""

    def connect(self, clock: Clock, pins: Pins) -> None:
        """It is on a board now: `clock` for what it does by itself, `pins` for its outputs."""

    def supply(self, on: bool, now_us: int) -> None:
        """The board's supply comes or goes."""

    def transfer(self, data: bytes, now_us: int) -> bytes | None:
        """So many bytes are clocked in; what is clocked out meanwhile, None while it is not selected."""


@runtime_checkable
class Hasty(SpiPart, Protocol):
    """A chip with which a board need not talk about every edge (felinar_sim.chips.radio has such)."""

    SELECTED: frozenset[str]
    """The inputs that select it: a board tells of their levels together with what is clocked in."""
    OUTPUTS: frozenset[str]
    """Outputs that a board may believe low for half a millisecond as long as it does nothing."""

    def idle(self) -> bool:
        """Whether nothing will happen when it is deselected now."""

    def foresee(self) -> bytes:
        """What a host that has been interrupted may be told in advance, in the order in which it will ask; empty: nothing.

        Pairs of what is clocked in and what comes out, but for a command that only clears flags, which stands alone, is sent all the
        same, and leaves both outputs low. Only the last one may be read in pieces. A host that does anything else drops the rest.
        """


class SpiBuses:
    """The buses of a board by the prefix of their pins ("radio": radio_sck, radio_mosi, radio_miso)."""

    def __init__(self, pins: Pins) -> None:
        self._pins = pins
        self.parts: dict[str, list[SpiPart]] = {}
        self._ports: dict[int, tuple[list[SpiPart], int]] = {}
        self.transfers = 0

    def fit(self, bus: str, part: SpiPart) -> None:
        """Connect a part to a bus."""
        self.parts.setdefault(bus, []).append(part)

    def setup(self, f: Frame, now: int) -> Answer:
        """SPI_SETUP: a = sck | mosi << 8 | miso << 16 | mode << 24, b = Hz (0 ends it)."""
        if not f.b:
            self._ports.pop(f.arg, None)
            return DONE
        given = (f.a & 255, f.a >> 8 & 255, f.a >> 16 & 255)
        found: list[SpiPart] = []
        for name, parts in self.parts.items():
            if not f.a >> 24 and given == tuple(
                self._pins.numbers.get(f"{name}_{line}") for line in ("sck", "mosi", "miso")
            ):
                found = parts
        self._ports[f.arg] = (found, f.b)
        return DONE

    def transfer(self, f: Frame, now: int) -> Answer:
        """SPI_TRANSFER: data, or b times the low byte of a (arg & 64); arg & 128: what comes back is wanted.

        Before that, by the higher bits of a, a pin went high (bits 8-15: its number and 1, bits 16-31: how many µs ago),
        and one went low (bits 32-39, 40-55).
        """
        if f.a > 255:
            self._edges(f.a, now)
        parts, hz = self._ports.get(f.arg & 15, ([], 1_000_000))
        data = bytes([f.a & 255]) * f.b if f.arg & _SAME else f.data
        took = _CALL_US + 8 * len(data) * 1_000_000 // hz
        self.transfers += 1
        answer = None
        for part in parts:
            answer = part.transfer(data, now + took) or answer
        if not f.arg & _HEAR:
            return Answer(0, b"", took)
        return Answer(0, answer if answer is not None else b"\xff" * len(data), took)

    def write(self, f: Frame, now: int) -> Answer:
        """SPI_WRITE: data has been clocked out, and the board has counted the time that it took; a as of SPI_TRANSFER."""
        if f.a > 255:
            self._edges(f.a, now)
        self.transfers += 1
        for part in self._ports.get(f.arg, ([], 0))[0]:
            part.transfer(f.data, now)
        return DONE

    def _edges(self, told: int, now: int) -> None:
        if told >> 8 & 255:
            self._pins.drive((told >> 8 & 255) - 1, 1, now - (told >> 16 & 0xFFFF))
        if told >> 32:
            self._pins.drive((told >> 32 & 255) - 1, 0, now - (told >> 40))

    def release(self) -> None:
        """A reset: no controller is set up."""
        self._ports.clear()
