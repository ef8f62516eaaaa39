"""Virtual boards from bare to proven with the real esptool, and each fault to its entry of the catalogue and back."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from felinar.config import Config
from felinar.flash import chip as chips
from felinar.flash import command as flash_command
from felinar.flash import firmware as firmwares
from felinar.flash import ports, steps
from felinar.flash.catalogue import CATALOGUE, FlashError
from felinar.flash.progress import Progress
from felinar.keys import SqliteKeyStore
from felinar.keys.place import open_keys
from felinar_sim.vboard import VirtualBoard

from tests.host.flash_boards import CONFIG, firmware_file, quick_board


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, firmwares.Firmware, Path]:
    """Board file, firmware, and the firmware's file."""
    folder = tmp_path_factory.mktemp("shelf")
    file = firmware_file(folder)
    return quick_board(folder), firmwares.load(file), file


@pytest.fixture
def keys(tmp_path: Path) -> Iterator[SqliteKeyStore]:
    store = SqliteKeyStore(tmp_path / "keys.db", bytes(32), create=True)
    yield store
    store.close()


Flash = Callable[..., steps.Report]


@pytest.fixture
def flash(shelf: tuple[str, firmwares.Firmware, Path], keys: SqliteKeyStore) -> Flash:
    def work(board: VirtualBoard, *, test: bool = False, **more: object) -> steps.Report:
        port = ports.named(board.url)
        return steps.provision(port, shelf[0], CONFIG, keys, shelf[1], test=test, **more)  # type: ignore[arg-type]

    return work


def test_a_bare_board_is_flashed_proven_and_tested(flash: Flash, keys: SqliteKeyStore) -> None:
    told: list[Progress] = []
    with VirtualBoard("esp32", 4, seed=1) as board:
        report = flash(board, test=True, lamp=True, on_progress=told.append)
        key = board.nvs()["felinar/key"]
        config = json.loads(board.file("config.json") or b"")
    assert report.passed, report.failed
    assert {"flash", "bh1750", "sht4x", "bl0937", "relay", "power"} <= {part.name for part in report.parts}
    assert config == CONFIG
    assert keys.nodes() == [7]
    assert keys.root(7) == key
    assert keys.pending() == []
    assert report.mac == report.proven.uid
    assert report.written.baud == 921600
    assert report.written.line_bytes <= 1.03 * report.written.compressed
    stages = list(dict.fromkeys(step.stage for step in told))
    assert stages == ["connect", "build", "write", "boot", "prove", "test", "done"]
    parts = [step.part for step in told if step.stage == "write"]
    assert parts == sorted(parts)
    assert parts[-1] == report.image_bytes


Outcome = tuple[int, dict[str, object]]


@pytest.fixture
def command(
    shelf: tuple[str, firmwares.Firmware, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[VirtualBoard, int], Outcome]:  # fmt: skip
    """`felinar flash --json` for one board: its status, and its last word."""
    monkeypatch.setenv("FELINAR_SECRET", str(tmp_path / "secret"))

    def work(board: VirtualBoard, baud: int) -> Outcome:
        order = flash_command.Order(
            board=shelf[0], port=board.url, firmware=shelf[2], address=7, name="one", lat=47.7, lon=26.6, test=False, json=True,
            baud=baud,
        )  # fmt: skip
        status = flash_command.run(Config(data_dir=str(tmp_path)), order)
        return status, json.loads(capsys.readouterr().out.splitlines()[-1])

    return work


FAULTS = [
    # fault, its entry, whether a key may be on the board, whether another board must take its place
    ("no-sync", "no-sync", False, False),
    ("no-download", "no-sync", False, False),
    ("wrong-chip", "wrong-chip", False, True),
    ("small-flash", "wrong-flash", False, True),
    ("bad-block:0x372000", "write", True, False),
    ("dropout:100000:600", "connection-lost", True, False),
    ("power", "connection-lost", True, False),
]


@pytest.mark.parametrize(("fault", "code", "written", "other"), FAULTS, ids=[fault for fault, *_ in FAULTS])
def test_a_fault_ends_in_its_entry_and_the_board_flashes_well_the_next_time(
    fault: str, code: str, written: bool, other: bool, command: Callable[[VirtualBoard, int], Outcome], tmp_path: Path
) -> None:
    faults = [] if fault == "power" else [fault]
    with VirtualBoard("esp32", 4, faults=faults, micropython=fault == "no-download", seed=2) as board:
        if fault == "power":
            board.cut_after(60, torn=0.5)
        status, told = command(board, 460800)
        assert (told["event"], told["code"]) == ("failed", code), told
        assert status
        assert told["cause"] == CATALOGUE[code].cause
        assert told["action"]
        keys = open_keys(tmp_path)
        assert keys.nodes() == []
        kept = [keys.pending_key(address, holder) for address, holder in keys.pending()]
        keys.close()
        assert len(kept) == written
        board.repair()
        board.power_on()
        if other:
            board.pull()
        with VirtualBoard("esp32", 4, seed=3) if other else contextlib.nullcontext(board) as sound:
            status, told = command(sound, 921600)
            assert (status, told["event"]) == (0, "done"), told
            keys = open_keys(tmp_path)
            assert keys.nodes() == [7]
            assert keys.root(7) == sound.nvs()["felinar/key"]
            assert not written or keys.root(7) == kept[0], "the key that may have been on it is the one it gets"
            assert keys.pending() == []
            keys.close()


def test_a_line_that_drops_out_in_the_middle_is_taken_up_again(flash: Flash, keys: SqliteKeyStore) -> None:
    with VirtualBoard("esp32", 4, faults=["dropout:100000:3"], seed=3) as board:
        report = flash(board)
        assert board.faults.dropout == 100_000
        assert board.port.drop_after is None, "it did drop out"
        assert keys.root(7) == board.nvs()["felinar/key"]
        assert report.proven.address == 7


def test_a_line_that_is_too_fast_is_tried_slower(flash: Flash) -> None:
    with VirtualBoard("esp32", 4, max_baud=500_000, seed=4) as board:
        report = flash(board)
    assert report.written.baud == 460800
    assert len(report.written.slower) == 1


def test_a_board_that_is_gone() -> None:
    with VirtualBoard("esp32", 4, seed=5) as board:
        assert chips.detect(ports.named(board.url)).name == "esp32"
    with pytest.raises(FlashError) as error:
        chips.detect(ports.named(board.url))
    assert error.value.code == "port-refused"


def test_an_address_that_has_a_key_is_given_to_another_board_only_when_asked(
    flash: Flash, keys: SqliteKeyStore
) -> None:
    old = keys.provision(7)
    with VirtualBoard("esp32", 4, seed=6) as board:
        with pytest.raises(FlashError) as error:
            flash(board)
        assert error.value.code == "address-taken"
        assert keys.root(7) == old
        assert keys.pending() == []


def _process(shelf: tuple[str, firmwares.Firmware, Path], board: VirtualBoard, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "felinar", "flash", "--board", shelf[0], "--port", board.url, "--firmware", str(shelf[2]),
         "--data-dir", str(folder), "--address", "7", "--no-test", "--json"],
        stdout=subprocess.PIPE, text=True, env={**os.environ, "FELINAR_SECRET": str(folder / "secret")},
    )  # fmt: skip


def test_the_command_killed_in_the_middle_of_a_write_loses_no_key(
    shelf: tuple[str, firmwares.Firmware, Path], tmp_path: Path
) -> None:
    with VirtualBoard("esp32", 4, seed=7) as board:
        first = _process(shelf, board, tmp_path)
        assert first.stdout is not None
        for line in first.stdout:
            told = json.loads(line)
            if told.get("stage") == "write" and told["part"] > 200_000:
                break
        first.send_signal(signal.SIGKILL)
        first.communicate()
        on_board = board.nvs()["felinar/key"]
        end = time.monotonic() + 30
        while board.port._client is not None and time.monotonic() < end:  # the process of esptool ends as well
            time.sleep(0.05)
        second = _process(shelf, board, tmp_path)
        lines = [json.loads(line) for line in second.communicate()[0].splitlines()]
        assert second.returncode == 0, lines[-1]
        assert lines[-1]["event"] == "done"
        keys = SqliteKeyStore(tmp_path / "keys.db", (tmp_path / "secret").read_bytes())
        assert keys.root(7) == board.nvs()["felinar/key"] == on_board
        assert keys.nodes() == [7]
        assert keys.pending() == []
        keys.close()
