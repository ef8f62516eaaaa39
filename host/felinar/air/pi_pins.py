"""The pins of a Raspberry Pi that a radio is on, through Blinka: its SPI, select and reset, and the edges of its interrupt line."""

from __future__ import annotations

import contextlib
import os
import select
import time
from collections.abc import Callable, Sequence
from typing import Any

from felinar.config import BridgeConfig
from felinar.errors import LinkError

INSTALL = "pip install 'felinar[pi]'"
_EDGES = 16


def _select(descriptors: Sequence[int], seconds: float) -> None:
    select.select(descriptors, (), (), seconds)


class Pins:
    """`spi`, `cs` and `reset` are Blinka's objects. The interrupt line is watched by the kernel, which stamps its rising edges
    with the monotonic clock; `wait` sleeps until there is one, or until another thread calls `wake`.

    `now_ns`, `sleep` and `select` are the clock and the system's ways of waiting. Blinka itself is imported here and nowhere else.
    """

    def __init__(
        self,
        config: BridgeConfig,
        *,
        now_ns: Callable[[], int] = time.monotonic_ns,
        sleep: Callable[[float], None] = time.sleep,
        select: Callable[[Sequence[int], float], None] = _select,
    ) -> None:
        """Raises LinkError: a library is missing, this is no Raspberry Pi, a pin has no such name or another owner."""
        self.now_ns, self.sleep, self._select = now_ns, sleep, select
        self._close = contextlib.ExitStack()
        try:
            import board
            import busio
            import digitalio
            import gpiod
        except ImportError as error:
            raise LinkError(
                f"What drives a radio on this machine's pins is not installed ({error.name or error}).", f"{INSTALL}."
            ) from error
        except (NotImplementedError, RuntimeError) as error:
            raise LinkError(
                f"This machine has no pins for a radio: {str(error).rstrip('. ')}.",
                "A radio in place of a line needs a Raspberry Pi.",
            ) from error
        suffix = f"_{config.spi}" if config.spi else ""
        clock, mosi, miso, cs, reset, dio0 = (
            _named(board, name)
            for name in ("SCK" + suffix, "MOSI" + suffix, "MISO" + suffix, config.cs, config.reset, config.dio0)
        )
        try:
            self.spi: Any = busio.SPI(clock, mosi, miso)
            self._close.callback(self.spi.deinit)
            self.cs: Any = digitalio.DigitalInOut(cs)
            self._close.callback(self.cs.deinit)
            self.reset: Any = digitalio.DigitalInOut(reset)
            self._close.callback(self.reset.deinit)
            settings = gpiod.LineSettings(
                direction=gpiod.line.Direction.INPUT,
                edge_detection=gpiod.line.Edge.RISING,
                bias=gpiod.line.Bias.PULL_DOWN,
                event_clock=gpiod.line.Clock.MONOTONIC,
            )
            chip = f"/dev/gpiochip{dio0.chip_index}"
            self._request: Any = gpiod.request_lines(chip, consumer="felinar", config={dio0.id: settings})
            self._close.callback(self._request.release)
            self._wake_out, self._wake_in = os.pipe()
            self._close.callback(os.close, self._wake_out)
            self._close.callback(os.close, self._wake_in)
            os.set_blocking(self._wake_in, False)
            os.set_blocking(self._wake_out, False)
        except (OSError, RuntimeError, ValueError, NotImplementedError) as error:
            self.close()
            raise LinkError(
                f"The pins of the radio can't be opened: {error}.",
                "Is SPI on (raspi-config)? Its select line must be free (dtoverlay=spi0-0cs), and this user in the groups spi and gpio.",
            ) from error

    def wait(self, seconds: float) -> None:
        """Until there is an edge, somebody calls `wake`, or so long."""
        self._select((self._request.fd, self._wake_out), max(0.0, seconds))
        with contextlib.suppress(BlockingIOError):
            while os.read(self._wake_out, 256):
                pass

    def wake(self) -> None:
        """End a `wait`, or the next one. For any thread."""
        with contextlib.suppress(OSError, ValueError):  # full: it will wake anyway; closed: nobody waits
            os.write(self._wake_in, b"\0")

    def edges(self) -> list[int]:
        """When the interrupt line rose since the last question, in ns of the monotonic clock; never waits."""
        out: list[int] = []
        while self._request.wait_edge_events(0):
            out += [event.timestamp_ns for event in self._request.read_edge_events(_EDGES)]
        return out

    def close(self) -> None:
        """Let go of all of them."""
        self._close.close()


def _named(board: Any, name: str) -> Any:
    found = getattr(board, name, None)
    if found is None:
        raise LinkError(
            f"This board has no pin '{name}'.", "Pins are named as in Blinka's board module: CE1, D25, D22."
        )
    return found
