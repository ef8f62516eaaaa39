"""One board in its boot loader, seen from our side of the worker process: who it is, the one write, the reset."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import tempfile
import time
from types import TracebackType
from typing import Any

import msgspec

from felinar.flash import messages
from felinar.flash.catalogue import CATALOGUE, FlashError
from felinar.flash.chip import NAMES, Chip
from felinar.flash.image import Image
from felinar.flash.ports import Port
from felinar.flash.progress import OnProgress, Progress, nobody
from felinar.holders import holder

SPEEDS = (921600, 460800, 115200)
"""Baud rates that are tried one after the other."""
_CONNECT_S = 90.0
_SILENT_S = 180.0  # erasing and checking 16 MB of a slow flash takes no longer
_END_S = 10.0


def speeds_from(fastest: int | None) -> tuple[int, ...]:
    """The baud rates to try where a fastest one is asked for: it and the usual ones below; all usual ones for None."""
    return SPEEDS if fastest is None else (fastest, *(speed for speed in SPEEDS if speed < fastest))


class Written(msgspec.Struct, frozen=True):
    """What the one write was: `line_bytes` went to the board, `compressed` of them were the image, in `seconds` at `baud`."""

    baud: int
    seconds: float
    line_bytes: int
    compressed: int
    slower: tuple[str, ...] = ()
    """Why faster speeds were given up."""


class Writer:
    """Enters the boot loader; leave it with `end()`, which starts the program, or `close()`, which ends the process alone.

    Raises FlashError: port-*, no-sync, stub, connection-lost, stuck, internal.
    """

    def __init__(self, port: Port, on_progress: OnProgress = nobody) -> None:
        self.port = port
        self._on_progress = on_progress
        _look(port)
        on_progress(Progress(port.device, "connect"))
        self._words = tempfile.TemporaryFile()  # noqa: SIM115 (it lives as long as the process)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "felinar.flash.worker", port.device],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._words, start_new_session=True,
        )  # fmt: skip
        self._ahead = bytearray()
        try:
            self.chip = self._chip(self._await("chip", _CONNECT_S))
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:  # fmt: skip
        try:
            if kind is None:
                self.end()
            elif issubclass(kind, FlashError):
                with contextlib.suppress(FlashError):
                    self.end()
        finally:
            self.close()

    def _chip(self, told: dict[str, Any]) -> Chip:
        size = str(told["flash"])
        number = float(size[:-2]) / (1 if size.endswith("MB") else 1024) if size[-2:] in ("MB", "KB") else 0.0
        if not number and not told["locked"]:
            raise FlashError("wrong-flash", "The board's flash does not tell its size: it may not be connected.")
        name = NAMES.get(told["name"], told["name"])
        return Chip(
            name, told["mac"], number, told["description"], told["psram_mb"], tuple(told["features"]), told["locked"]
        )

    def write(self, image: Image, speeds: tuple[int, ...] = SPEEDS) -> Written:
        """Write an image and verify it, at the first of these speeds that works. Raises FlashError: write, connection-lost, …"""
        self._ask(do="write", segments=image.segments, speeds=speeds)
        slower = []
        while True:
            told = self._next(_SILENT_S)
            if told["event"] == "part":
                self._on_progress(Progress(self.port.device, "write", told["part"], told["whole"]))
            elif told["event"] == "speed":
                slower.append(told["why"])
                self._on_progress(
                    Progress(self.port.device, "write", 0, image.size, f"again at {told['baud']} baud: {told['why']}")
                )
            elif told["event"] == "written":
                return Written(told["baud"], told["seconds"], told["line_bytes"], told["compressed"], tuple(slower))

    def end(self) -> None:
        """Reset the board, so that it starts its program, and let go of the port."""
        if self._process.poll() is None:
            self._ask(do="end")
            self._await("ended", _END_S)

    def close(self) -> None:
        """End the process, whatever it does."""
        process = self._process
        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):
                assert pipe is not None
                pipe.close()
        try:
            process.wait(1 if process.poll() is None else 0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._words.close()

    def _ask(self, **message: Any) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # its last word says why
            messages.send(self._process.stdin, message)

    def _await(self, event: str, wait_s: float) -> dict[str, Any]:
        while True:
            told = self._next(wait_s)
            if told["event"] == event:
                return told

    def _next(self, wait_s: float) -> dict[str, Any]:
        end = time.monotonic() + wait_s
        assert self._process.stdout is not None
        source = self._process.stdout.fileno()
        while (told := messages.taken(self._ahead)) is None:
            if not select.select([source], [], [], max(0.0, end - time.monotonic()))[0]:
                raise FlashError("stuck", f"Nothing was heard of {self.port.device} for {wait_s:.0f} s.")
            data = os.read(source, 65536)
            if not data:
                raise FlashError("internal", f"The flashing process ended: {self._last_words()}")
            self._ahead += data
        if told["event"] == "failed":
            code = told["code"] if told["code"] in CATALOGUE else "internal"
            raise FlashError(
                code, f"{self.port.device}: {CATALOGUE[code].cause.rstrip('.')} ({told['text'] or 'no more is known'})."
            )
        return told

    def _last_words(self) -> str:
        self._words.seek(0, os.SEEK_END)
        self._words.seek(max(0, self._words.tell() - 500))
        lines = self._words.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "without a word"


def _look(port: Port) -> None:
    """What can be told of a port without opening it, in clearer words than esptool's."""
    device = port.device
    if port.remote:
        return
    if not os.path.exists(device):
        raise FlashError("port-gone", f"There is no port {device} any more.")
    if not os.access(device, os.R_OK | os.W_OK):
        raise FlashError("port-denied", f"This user may not open {device}.")
    who = holder(device)
    if who:
        raise FlashError("port-busy", f"{device} is held by process {who[0]} ({who[1]}).")
