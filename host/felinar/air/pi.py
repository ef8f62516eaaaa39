"""A bridge without a cable: a radio on this machine's pins, driven in a thread of its own, behind the interface of a line."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import sys
import threading
import uuid
from collections import deque
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from felinar_air.modem import LONGEST, Modem
from felinar_wire import serial

from felinar.air.pi_pins import INSTALL, Pins
from felinar.config import BridgeConfig
from felinar.errors import LinkError
from felinar.port import Lost, Received

if TYPE_CHECKING:
    from felinar.air.pi_radio import Radio

_SX127X = 2
_TEND_MS = 5000
_AGAIN_S = 1.0
_TRIES = 3
_SWITCH_S = 0.001


class PiBridge:
    """What the firmware of a bridge does, here: bytes of its line in by `feed`, out by `send`; `run` is its life.

    All but `feed` and `stop` belongs to the thread that calls `run`.
    """

    def __init__(self, radio: Radio, pins: Pins, kind: ModuleType, uid: bytes, send: Callable[[bytes], None]) -> None:
        """`kind` is the module `felinar.air.pi_radio`; the radio has been started."""
        self.radio = radio
        self._pins = pins
        self._inbox: deque[bytes] = deque()
        self._deframer = serial.Deframer(limit=LONGEST)
        self._begin = pins.now_ns()
        self._tended = 0
        self._ended = False
        self.modem = Modem(
            radio, kind, lambda content: send(b"\0" + serial.encode(content)), radio.us, uid, _SX127X, kind.MOST_DBM,
            kind.LEAST_BYTES,
        )  # fmt: skip
        radio.on_wait = self._serve

    def feed(self, data: bytes) -> None:
        """Bytes from the host. For any thread."""
        self._inbox.append(data)
        self._pins.wake()

    def stop(self) -> None:
        """End `run`. For any thread."""
        self._ended = True
        self._pins.wake()

    def run(self) -> str:
        """Be a bridge until `stop`, or until the radio does not come back; why it ended, "" after `stop`."""
        try:
            while not self._ended:
                self._serve()
                self._step()
                if not self.radio.pending:
                    self._pins.wait(self.modem.rest() / 1000)
            with contextlib.suppress(LinkError):
                self.radio.stop()
        except LinkError as error:
            return f"{error.sentence} {error.remedy}".strip()
        return ""

    @property
    def _up_ms(self) -> int:
        return (self._pins.now_ns() - self._begin) // 1_000_000

    def _serve(self) -> None:
        while self._inbox:
            for content in self._deframer.feed(self._inbox.popleft()):
                self.modem.take(content)

    def _step(self) -> None:
        modem = self.modem
        if not modem.broken:
            modem.step(self._up_ms)
        if not modem.broken and self._up_ms - self._tended >= _TEND_MS:
            self._tended = self._up_ms
            try:
                wrong = self.radio.tend(modem.heard > 0)
            except LinkError as error:
                wrong = error.sentence
            if wrong:
                modem.log(wrong)
                modem.broken = True
        if modem.broken:
            self._restart()

    def _restart(self) -> None:
        for left in range(_TRIES - 1, -1, -1):
            try:
                self.radio.start()
                break
            except LinkError:
                if not left or self._ended:
                    raise
                self._pins.sleep(_AGAIN_S)
        self.modem.broken = False
        self.modem.listen()


class PiPort:
    """The bridge in its thread as a line: `felinar.port.Port`."""

    def __init__(self, bridge: PiBridge, pins: Pins, lost: Lost) -> None:
        self._bridge = bridge
        self._pins = pins
        self._lost = lost
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="felinar-radio", daemon=True)
        self._thread.start()

    def write(self, data: bytes) -> None:
        self._bridge.feed(data)

    async def close(self) -> None:
        self._bridge.stop()
        await asyncio.to_thread(self._thread.join, 5)

    def _run(self) -> None:
        reason = ""
        try:
            reason = self._bridge.run()
        except Exception as error:  # a fault of ours is told as that of a line would be
            reason = f"the radio's thread has failed: {error!r}"
        finally:
            self._pins.close()
            if reason:
                with contextlib.suppress(RuntimeError):  # the loop has ended
                    self._loop.call_soon_threadsafe(self._lost, reason)


async def open_radio(config: BridgeConfig, received: Received, lost: Lost) -> PiPort:
    """Start the radio that a bridge's configuration names. Raises LinkError."""
    loop = asyncio.get_running_loop()

    def send(data: bytes) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(received, data)

    # A frame must go out within milliseconds of its time, whatever the other threads compute.
    sys.setswitchinterval(min(sys.getswitchinterval(), _SWITCH_S))
    pins = await asyncio.to_thread(Pins, config)
    try:
        bridge = await asyncio.to_thread(start, config, pins, send)
    except BaseException:
        pins.close()
        raise
    return PiPort(bridge, pins, lost)


def start(config: BridgeConfig, pins: Pins, send: Callable[[bytes], None]) -> PiBridge:
    """A bridge whose radio was found and set up. Raises LinkError."""
    try:
        from felinar.air import pi_radio
    except ImportError as error:
        raise LinkError(f"The library of the RFM9x is not installed ({error.name or error}).", f"{INSTALL}.") from error
    name = f"on SPI {config.spi} with {config.cs}"
    radio = pi_radio.Radio(pins, name)
    radio.start()
    return PiBridge(radio, pins, pi_radio, _uid(config), send)


def _uid(config: BridgeConfig) -> bytes:
    """Eight bytes that stay the same for this machine and place, and tell nothing about it."""
    try:
        machine = Path("/etc/machine-id").read_text().strip()
    except OSError:
        machine = str(uuid.getnode())
    return hashlib.sha256(f"felinar/{machine}/{config.spi}/{config.cs}".encode()).digest()[:8]
