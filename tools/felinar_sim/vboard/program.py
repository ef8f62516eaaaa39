"""The running board behind a virtual board's line: the simulator's board, on the virtual board's flash and with its prompt."""

from __future__ import annotations

import atexit
import functools
import shutil
import signal
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from felinar_sim import chips, process
from felinar_sim.board import Board, Cause
from felinar_sim.clock import RealClock
from felinar_sim.link import Answer, Exit, Frame, Link
from felinar_sim.street import BOTOSANI
from felinar_sim.vboard.nor import NorFlash
from felinar_sim.vboard.nvs import FlashNvs
from felinar_sim.world import Position, World

_OURS = Path(process.__file__).with_name("standin_vboard")
HEAP = "232K"
"""Of this interpreter: what is as tight as a stock ESP32's, and 8K for the prompt and the block of flash that stand-ins hold here."""
_FIFO = 128  # bytes of an ESP32's UART
_DEAF_US = 200_000  # after so long an interrupt that a program does not see by itself is pressed on it


@functools.cache
def _standins(micropython: str) -> Path:
    """The stand-ins with the virtual board's start and prompt among them: a folder of links."""
    folder = Path(tempfile.mkdtemp(prefix="felinar-vboard-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for item in process.standin_folder(micropython).iterdir():
        if item.stem != "simboot":
            (folder / item.name).symlink_to(item)
    for item in _OURS.glob("*.py"):
        (folder / item.name).symlink_to(item)
    return folder


def _fitted(
    description: Mapping[str, Any], seed: str, start_us: int, where: Mapping[str, Any]
) -> tuple[list[tuple[Mapping[str, Any], Any]], Any, World, Position]:
    """Models of the chips that a board description names, and the lamp that its relay switches; what the simulator has no model of is left out."""
    position = Position(float(where.get("lat", BOTOSANI.lat)), float(where.get("lon", BOTOSANI.lon)))
    world = World(seed)
    lamp = chips.Lamp(
        normally_closed=bool(description.get("relay_normally_closed", True)), seed=seed, start_us=start_us
    )
    around = world.surroundings(position, lamp)
    parts: list[tuple[Mapping[str, Any], Any]] = [({"driver": "lamp"}, lamp)]
    known = set(chips.drivers())
    for entry in description.get("fitted", ()):
        if entry.get("driver") in known:
            parts.append((entry, chips.build(entry, around, lamp=lamp, seed=seed)))
    if description.get("radio"):
        radio = chips.radio(description["radio"], description.get("pins", {}), seed=seed)
        parts.append(({"driver": "radio", "bus": "radio"}, radio))
    return parts, lamp, world, position


class Program(Board):
    """The simulator's board with what is different on a virtual one.

    Its flash is the chip's, with the files in a LittleFS of that flash that the program itself mounts; NVS is a partition of it. It starts as
    the stock firmware does (boot.py, main.py, then the prompt) and its prompt is MicroPython's, raw mode and all.
    """

    lamp: Any

    def __init__(
        self,
        folder: Path,
        clock: RealClock,
        flash: NorFlash,
        *,
        description: Mapping[str, Any],
        config: Mapping[str, Any],
        mac: bytes,
        baud: int,
        native: Path | None = None,
        seed: str = "0",
        heap: str = HEAP,
    ) -> None:
        parts: Sequence[tuple[Mapping[str, Any], Any]] = ()
        lamp = world = position = None
        if description.get("fitted") or description.get("pins"):
            parts, lamp, world, position = _fitted(description, seed, clock.now_us, config)
        known = {**description, "line": {"baud": baud}, "flash_mb": 4}
        super().__init__(
            "vboard", folder, clock, app=folder, description=known, parts=parts, seed=seed, uid=mac, keep=False, heap=heap, boot_ms=1,
        )  # fmt: skip
        self.flash, self.fuse, self._nor = flash, flash.fuse, flash
        self.lamp = lamp
        if world is not None and position is not None and lamp is not None:
            self.levels = world.mean_squares(position)
            self.on_power.append(lamp.mains)
        self._native = native
        self._early = bytearray()
        self.raw = False
        """Whether the prompt is in raw mode: it stays so over a soft reset, and main.py is not run then."""
        self.console.on_interrupt = self._interrupted

    def hear(self, data: bytes) -> None:
        """Bytes from the line. What comes while nothing runs waits in the receiver's FIFO, as far as that goes."""
        if self.running:
            self.console.write(data)
        else:
            self._early += data[: _FIFO - len(self._early)]

    def nvs_at(self, at: int, size: int) -> None:
        """Where the NVS partition lies."""
        self.nvs = FlashNvs(self._nor, at, size)

    def en_reset(self) -> None:
        """The chip's EN pin goes low and high again: for the chip a power-on; the other parts of the board keep their state."""
        with self.clock.lock:
            self.stop()
            self._early.clear()
            if not self.powered:
                self.power_on()
                return
            self._power_on_state()
            self._boot(Cause.POWER_ON)

    def stop(self) -> None:
        """EN is low, or the supply is gone."""
        with self.clock.lock:
            self._stop_program()

    def retire(self) -> None:
        """End the program for good; the flash is the virtual board's and stays open."""
        with self.clock.lock:
            self._stop_program()
            self.powered = False
            self.console.close()

    def _boot(self, cause: Cause) -> None:
        if cause is not Cause.SOFT:
            self.raw = False
        super()._boot(cause)

    def _start_program(self) -> None:
        (self.folder / "boot-mode").write_text(f"{'raw' if self.raw else ''}\n{self._native or ''}")
        link = self.folder / ".standin"
        if not link.is_symlink():
            link.symlink_to(_standins(self._micropython))
        self._link = Link()
        self._process = process.spawn(
            self.folder, self._link, self.log.path, heap=self.heap, micropython=self._micropython
        )
        self._up_us = self._uptime(self.clock.now_us)
        self.console.power(True)
        self.console.interrupt_on(-1)  # nothing to interrupt before boot.py
        self.console.write(bytes(self._early))
        self._early.clear()
        self.clock.watch(self._link.fileno(), self._readable)

    def _exit(self, f: Frame, now: int) -> Answer:
        if Exit(f.arg) is Exit.SOFT:
            self.raw = bool(f.a)
            self.console.output(b"MPY: soft reboot\r\n")
        return super()._exit(f, now)

    def _kbd_intr(self, f: Frame, now: int) -> Answer:
        """Once nothing may interrupt any more, an interrupt that has not been seen yet is forgotten, as the firmware does after a program."""
        if f.a < 0:
            self.console.interrupted = False
        return super()._kbd_intr(f, now)

    def _interrupted(self) -> None:
        """Ctrl-C: a program that asks for something learns of it by the answer, one that only computes is sent a signal."""
        self._wake()
        self._later(self.clock.now_us + _DEAF_US, self._press)

    def _press(self) -> None:
        if self.console.interrupted and self._process is not None and self._waiting is None:
            self.console.interrupted = False
            self._process.send_signal(signal.SIGINT)
