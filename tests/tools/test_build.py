"""Board files: sound ones pass, each impossible one is refused with a sentence that names the fault."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from felinar_build import app, board

BOARDS = Path(__file__).resolve().parents[2] / "boards"
SIM = (BOARDS / "sim" / "board.toml").read_text()


@pytest.mark.parametrize("path", sorted(BOARDS.glob("*/board.toml")), ids=lambda p: p.parent.name)
def test_every_board_file_is_sound(path: Path) -> None:
    loaded = board.load(path)
    assert loaded.board.id == path.parent.name
    content = json.loads(board.node_json(loaded))
    assert {entry["driver"] for entry in content["fitted"]} == {entry.driver for entry in loaded.fitted}


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("gpio = 25,", "gpio = 36,", "GPIO 36 of the esp32 is input only"),
        ("gpio = 25,", "gpio = 8,", "belongs to the flash"),
        ("gpio = 25,", "gpio = 24,", "has no GPIO 24"),
        ("gpio = 25,", "gpio = 12,", "strapping pin"),
        ("gpio = 25,", "gpio = 26,", "both on GPIO 26"),
        ('chip = "esp32"', 'chip = "esp8266"', "unknown chip 'esp8266'"),
        ('arch = "x64"', 'arch = "rv32imc"', "does not fit a esp32"),
        ("offset = 0x350000", "offset = 0x350100", "whole blocks"),
        ("offset = 0x350000", "offset = 0x8000", "overlaps the partition table"),
        ("size = 0x20000", "size = 0x200000", "ends behind the 4 MB"),
        ('bus = "i2s0"', 'bus = "i2s7"', "no pins are named i2s7_*"),
        ("address = 0x69", "address = 0x23", "share address 0x23"),
        ("counter = 0", 'counter = 0\npins = ["power_cf", "nowhere", "power_sel"]', "no pin called 'nowhere'"),
        ("counter = 0", "counter = 0\ngain = 0", "> 0.0"),
        ("rate = 48000", "rate = 48000\nperiod_ms = 1", ">= 100"),
        ("flash_mb = 4", 'flash_mb = "four"', "Expected `int`"),
        ("flash_mb = 4", "flash_mb = 4\nflash = 4", "unknown field `flash`"),
        ("[board]", "[board", "Expected"),
    ],
)
def test_an_impossible_board_is_refused(tmp_path: Path, old: str, new: str, fault: str) -> None:
    assert old in SIM
    path = tmp_path / "board.toml"
    path.write_text(SIM.replace(old, new, 1))
    with pytest.raises(board.BoardError) as caught:
        board.load(path)
    assert fault in str(caught.value)
    assert str(path) in str(caught.value)


def test_whatever_a_driver_looks_up_may_stand_in_a_board_file() -> None:
    drivers = BOARDS.parent / "firmware" / "drivers"
    looked_up = {
        key
        for source in [*drivers.glob("*.py"), drivers.parent / "node" / "sampler.py"]
        for key in re.findall(r"""entry(?:\.get\(|\[)"(\w+)\"""", source.read_text())
    }
    assert {"driver", "bus", "address", "period_ms", "dbfs", "fields"} <= looked_up
    assert looked_up <= set(board.Fitted.__struct_fields__)


def test_settings_of_a_sensor_reach_the_node(tmp_path: Path) -> None:
    path = tmp_path / "board.toml"
    settings = 'counter = 0\nperiod_ms = 2000\npins = ["power_cf", "power_cf1", "power_sel"]\ndivider = 1961\nshunt_uohm = 2000\ngain = 1.02\n'
    path.write_text(SIM.replace("counter = 0\n", settings))
    fitted = json.loads(board.node_json(board.load(path)))["fitted"]
    assert fitted[-1] == {
        "driver": "bl0937", "counter": 0, "period_ms": 2000, "pins": ["power_cf", "power_cf1", "power_sel"], "divider": 1961,
        "shunt_uohm": 2000, "gain": 1.02,
    }  # fmt: skip


def test_an_unknown_board_lists_the_known_ones() -> None:
    with pytest.raises(board.BoardError, match=r"known boards: .*sim"):
        board.find(BOARDS, "nonesuch")


def test_the_application_holds_only_what_the_board_needs(tmp_path: Path) -> None:
    out = tmp_path / "app"
    written = app.build(BOARDS / "sim" / "board.toml", out, mpy=True)
    places = {str(path.relative_to(out)) for path in written}
    fitted = {f"drivers/{part.driver}.mpy" for part in board.load(BOARDS / "sim" / "board.toml").fitted}
    assert {
        "main.py",
        "board.json",
        "drivers/__init__.mpy",
        "node/app.mpy",
        "felinar_wire/codec.mpy",
    } | fitted <= places
    assert all(path.read_bytes()[:1] == b"M" for path in written if path.suffix == ".mpy")


def test_the_command_line_ends_in_one_sentence() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "felinar_build", "app", "--board", "nonesuch"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: there is no board called 'nonesuch'")
    assert "Traceback" not in done.stderr
