"""The test of a board, run on a virtual one: it passes, and a broken driver, wire, sensor or board fails it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from felinar.errors import FelinarError
from felinar_board_test import own
from felinar_board_test.__main__ import main
from felinar_board_test.run import Order, Outcome, Report, run
from felinar_sim.vboard import VirtualBoard

ROOT = Path(__file__).parents[2]
KEY = bytes(range(16))


@pytest.fixture(scope="module")
def board() -> Iterator[VirtualBoard]:
    with own.board(key=KEY) as running:
        yield running


def outcomes(board: VirtualBoard, *only: str, overlay: tuple[Path, ...] = ()) -> tuple[Report, dict[str, Outcome]]:
    report = run(Order(board.url, only=only, overlay=overlay, pause_s=0.1), lambda text: None, lambda outcome: None)
    return report, {one.part: one for one in report.outcomes}


def changed(folder: Path, place: str, old: str, new: str) -> Path:
    """A module of the checkout with a fault in it."""
    source = next(path for root in ("firmware", "protocol") if (path := ROOT / root / place).is_file())
    text = source.read_text()
    assert text.count(old) == 1
    target = folder / place
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text.replace(old, new))
    return folder


def test_a_sound_board_passes_and_keeps_what_it_has(board: VirtualBoard) -> None:
    nvs, began_us = board.nvs(), board.clock.now_us
    report, found = outcomes(board, "scale", "security_join", "security_lms", "sht4x", "ics43434")
    assert report.passed, report
    assert {name: one.status for name, one in found.items()} == dict.fromkeys(
        ("scale", "security_join", "security_lms", "sht4x", "ics43434", "flash", "restart"), "passed"
    )
    vectors = json.loads((ROOT / "tests" / "vectors" / "scale.json").read_text())["vectors"]
    assert found["scale"].count == len(vectors)
    assert found["sht4x"].count == 5, "shape, start, value, again, absent"
    assert "absent not tried" in found["ics43434"].text
    after = board.nvs()
    assert after["felinar/key"] == nvs["felinar/key"] == KEY
    assert board.program is not None
    with board.clock.lock:
        dark = board.program.lamp.dark_while_powered(began_us, board.clock.now_us)
    assert dark == [], "the lamp was lit all the time"


def test_faults_are_found(board: VirtualBoard, tmp_path: Path) -> None:
    """A wire that differs, a driver that reckons wrongly, one that swallows errors, and a sensor that is not there."""
    changed(tmp_path, "felinar_wire/scale.py", "range(20)", "range(19)")
    changed(tmp_path, "drivers/bh1750.py", "out[0] = millilux", "out[0] = -1 - millilux")
    changed(tmp_path, "drivers/sht4x.py", "Sensirion(b, entry, 0x44)", 'Sensirion(b, {"bus": entry["bus"]}, 0x44)')
    assert board.program is not None
    board.program.chip("scd41").gone = True
    try:
        report, found = outcomes(board, "scale", "bh1750", "sht4x", "scd41", overlay=(tmp_path,))
    finally:
        board.program.chip("scd41").gone = False
    assert not report.passed
    assert found["scale"].status == "failed"
    assert "got" in found["scale"].text
    assert re.search(r"value: lux is -\d+, which is not from 0", found["bh1750"].text)
    assert re.search(r"absent: it starts at address 0x77, where nothing is", found["sht4x"].text)
    assert "start: it does not answer" in found["scd41"].text
    assert found["restart"].status == "passed", "whatever fails, the application runs again"


def test_what_was_asked_wrongly_is_one_sentence(board: VirtualBoard, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (
        [board.url, "--only", "bh1751"],
        [board.url, "--board", "nowhere"],
        [board.url, "--source", "/nowhere"],
        ["/dev/nowhere"],
        ["rfc2217://127.0.0.1:1"],
    ):
        assert main(arguments) in (1, 2)
        said = capsys.readouterr().err
        assert said.startswith("felinar_board_test: ")
        assert said.count("\n") == 1
        assert "Traceback" not in said


def test_a_board_without_micropython_is_told_what_it_needs() -> None:
    with VirtualBoard("esp32") as board, pytest.raises(FelinarError, match="There is no MicroPython on the board"):
        outcomes(board)


def test_a_board_without_an_application_has_its_wire_tested(capsys: pytest.CaptureFixture[str]) -> None:
    with VirtualBoard("esp32", micropython=True) as board:
        assert main([board.url, "--json", "--only", "scale", "--only", "drivers"]) == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    parts = {each["part"]: each for each in told if each["event"] == "part"}
    assert {name: part["status"] for name, part in parts.items()} == {
        "scale": "passed", "drivers": "skipped", "flash": "passed", "restart": "skipped",
    }  # fmt: skip
    assert "no board.json" in parts["drivers"]["text"]
    assert told[-1]["event"] == "done"
    assert told[-1]["passed"]
