"""What the tests of flashing share: a board without slow parts, and firmware that only virtual boards take."""

from __future__ import annotations

from pathlib import Path

from felinar_build.modules import ROOT
from felinar_sim.vboard import image
from felinar_sim.vboard.chips import KINDS

CONFIG = {"address": 7, "name": "Strada Unirii 1", "lat": 47.745, "lon": 26.659, "report_s": 60}
_SLOW = ("sps30", "scd41", "ics43434")


def quick_board(folder: Path) -> str:
    """The path of a board file like that of `sim`, without the parts that take long to have a value."""
    head, *fitted = (ROOT / "boards" / "sim" / "board.toml").read_text().split("[[fitted]]")
    kept = [part for part in fitted if not any(f'"{slow}"' in part for slow in _SLOW)]
    path = folder / "quick.toml"
    path.write_text("[[fitted]]".join([head, *kept]))
    return str(path)


def quick_radio_board(folder: Path) -> str:
    """The path of a board file like that of `sim_radio`, without the parts that take long to have a value, and with a cable as its line:
    as the real boards are."""
    head, *fitted = (ROOT / "boards" / "sim_radio" / "board.toml").read_text().split("[[fitted]]")
    kept = [part for part in fitted if not any(f'"{slow}"' in part for slow in _SLOW)]
    path = folder / "quick-radio.toml"
    path.write_text("[[fitted]]".join([head.replace('{ type = "radio" }', '{ type = "console" }'), *kept]))
    return str(path)


def firmware_file(folder: Path, chip: str = "esp32", flash_mb: int = 4) -> Path:
    """A synthetic firmware: its parts have the forms of the real ones, and its code is a short filling."""
    path = folder / f"synthetic-{chip}-{flash_mb}.bin"
    path.write_bytes(image.firmware(KINDS[chip], flash_mb, app_bytes=200_000))
    return path
