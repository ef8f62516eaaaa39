"""Where boards are written: the ports of this machine, and `felinar.flash` for each board."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from felinar.cities import City, city
from felinar.errors import ConfigError, FelinarError
from felinar.flash import chip as chips
from felinar.flash import firmware as firmwares
from felinar.flash import image as images
from felinar.flash import ports
from felinar.flash.catalogue import FlashError
from felinar.flash.chip import Chip
from felinar.flash.ports import Port
from felinar.flash.progress import OnProgress, Progress
from felinar.flash.steps import flash
from felinar.flash.writer import SPEEDS, Writer
from felinar.provision.plan import PlanEntry


class Job(NamedTuple):
    """What a board is to become."""

    entry: PlanEntry
    address: int
    key: bytes


class Work(Protocol):
    """A board's way through the books; each call is durable when it returns."""

    def found(self, chip: Chip) -> Job | None:
        """The board is known: what it becomes, None when nothing is left to do. May raise to refuse it."""

    def store_key(self, line: str) -> None:
        """Before the first byte is written: the image is made, "wired" or "radio"."""

    def written(self) -> None: ...

    def proven(self) -> None: ...

    def ready(self) -> None:
        """Every part has passed, and it speaks through its line."""


class Bench(Protocol):
    """Boards that come and go."""

    def ports(self) -> Sequence[Port]:
        """What is plugged in now."""

    def unfit(self, entry: PlanEntry, chip: Chip) -> str:
        """Why a board can't be what an entry asks for; empty when it can."""

    def flash(self, port: Port, work: Work, on_progress: OnProgress) -> None:
        """Take one board from bare to proven and tested. Raises FelinarError; one of the catalogue has a `code`."""


class EspBench:
    """Boards with an ESP32, each written by a process of its own (see `felinar.flash`).

    `named` are the only ports to look at, in place of all; `board` and `line` are those of entries that name none;
    `config` goes into each node's configuration below what the plan says; `lamp`: a lamp hangs on the relay.
    """

    def __init__(
        self,
        *,
        named: Sequence[str] = (),
        board: str = "",
        firmware: Path | None = None,
        config: Mapping[str, Any] | None = None,
        preset: City | None = None,
        speeds: tuple[int, ...] = SPEEDS,
        test: bool = True,
        lamp: bool = False,
        line: str = "",
    ) -> None:
        self._named = [ports.named(device) for device in named]
        self._board = board
        self._firmware = firmware
        self._loaded: dict[str, firmwares.Firmware] = {}
        self._lock = threading.Lock()
        self._config = config or {}
        self._preset = preset
        self._speeds = speeds
        self._test = test
        self._lamp = lamp
        self._line = line

    def ports(self) -> Sequence[Port]:
        return self._named or ports.find()

    def unfit(self, entry: PlanEntry, chip: Chip) -> str:
        board = entry.board or self._board
        if not board:
            return "the plan does not say which board file they want."
        try:
            described = images.board(board)
            chips.require(described, chip)
            images.line_of(described, entry.line or self._line)
        except FlashError as error:
            return error.sentence
        return ""

    def _image_of(self, board_id: str, port: Port, on_progress: OnProgress) -> firmwares.Firmware:
        # One thread looks for it, and downloads it; the others have it then.
        with self._lock:
            board = images.board(board_id)
            name = str(self._firmware) if self._firmware else firmwares.variant(board)
            if name not in self._loaded:

                def told(text: str) -> None:
                    on_progress(Progress(port.device, "build", text=text))

                self._loaded[name] = firmwares.load(self._firmware or firmwares.Cache().find(board, told))
            return self._loaded[name]

    def flash(self, port: Port, work: Work, on_progress: OnProgress) -> None:
        def tell(progress: Progress) -> None:
            if progress.stage == "boot":
                work.written()
            on_progress(progress)

        with Writer(port, on_progress) as writer:
            try:
                job = work.found(writer.chip)
            except FelinarError:
                writer.end()  # it starts what it has, as it would have without us
                raise
            if job is None:
                return
            board = job.entry.board or self._board
            on_progress(Progress(port.device, "build"))
            config = node_config(job.entry, job.address, self._config, self._preset)
            line = job.entry.line or self._line
            image = images.build(board, config, job.key, self._image_of(board, port, on_progress), line)
            work.store_key(image.kind)
            report = flash(
                writer,
                image,
                tell,
                speeds=self._speeds,
                test=self._test,
                lamp=self._lamp,
                on_proven=lambda _: work.proven(),
            )
        if report.failure is not None:
            raise report.failure
        work.ready()


def node_config(
    entry: PlanEntry, address: int, base: Mapping[str, Any] | None = None, preset: City | None = None
) -> dict[str, Any]:
    """A node's /config.json: what all nodes share, below what the plan says of this one.

    The place's time comes from the preset, else from the preset that `entry.place` names, where there is one.
    """
    config: dict[str, Any] = {**(base or {}), "address": address, "name": entry.name, "pole": entry.pole}
    config |= {"lat": entry.latitude, "lon": entry.longitude}
    if entry.group:
        config["group"] = entry.group
    lamp = dict(config.get("lamp", {}))
    if entry.lamp_w is not None:
        lamp["lamp_w"] = entry.lamp_w
    if preset is None and entry.place:
        with contextlib.suppress(ConfigError):
            preset = city(entry.place)
    if preset is not None:
        winter, summer = (_offset_min(preset, month) for month in (1, 7))
        lamp = {"utc_offset_min": min(winter, summer), "summer_time": winter != summer} | lamp
    if lamp:
        config["lamp"] = lamp
    return config


def _offset_min(preset: City, month: int) -> int:
    offset: Callable[[datetime], Any] = preset.timezone.utcoffset
    return int(offset(datetime(2026, month, 1)).total_seconds()) // 60
