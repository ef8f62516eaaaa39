"""A virtual board of our own for a test without a port: the application of `sim` on it, with a key that is nobody's."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from felinar.flash import firmware as firmwares
from felinar.flash import image as images
from felinar_sim.vboard import VirtualBoard, image
from felinar_sim.vboard.chips import KINDS
from felinar_sim.vboard.program import HEAP

BOARD = "sim"
_CONFIG = {"address": 1, "name": "virtual", "lat": 47.745, "lon": 26.659, "report_s": 300}


@contextmanager
def board(board_id: str = BOARD, key: bytes = bytes(16), heap: str = HEAP) -> Iterator[VirtualBoard]:
    """It runs while the `with` lasts. `heap`: of its MicroPython."""
    about = images.board(board_id).board
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "firmware.bin"
        file.write_bytes(image.firmware(KINDS[about.chip], about.flash_mb, app_bytes=200_000))
        made = images.build(board_id, _CONFIG, key, firmwares.load(file))
    with VirtualBoard(about.chip, about.flash_mb, heap=heap) as running:
        running.cut_power()
        for at, data in made.segments:
            running.flash.place(at, data)
        running.power_on()
        yield running
