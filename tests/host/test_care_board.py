"""What a technician does to one board: the commands on a virtual board with a flashed image."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from felinar.care import backup as backups
from felinar.care import configure, files, keeping, monitor, selftest
from felinar.care.errors import CareError
from felinar.care.line import CareLine
from felinar.care.node import Node
from felinar.cli import app
from felinar.config import Config
from felinar.flash import firmware as firmwares
from felinar.flash import image as images
from felinar_sim.vboard import VirtualBoard
from typer.testing import CliRunner

from tests.host.flash_boards import CONFIG, firmware_file, quick_board

KEY = bytes(range(16))


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VirtualBoard]:
    folder = tmp_path_factory.mktemp("board")
    image = images.build(quick_board(folder), CONFIG, KEY, firmwares.load(firmware_file(folder)))
    made = VirtualBoard("esp32", 4, seed=1)
    for at, data in image.segments:
        made.flash.place(at, data)
    with made:
        yield made


def config_of(board: VirtualBoard) -> dict[str, object]:
    with CareLine(board.url) as line:
        node = Node(line)
        node.meet()
        return configure.get(node).value


def test_the_self_test_reads_each_part_and_clicks_the_relay(
    board: VirtualBoard, capsys: pytest.CaptureFixture[str]
) -> None:
    assert selftest.run(board.url, json=True)
    told = json.loads(capsys.readouterr().out)
    assert (told["node"], told["passed"], told["uid"]) == (7, True, board.mac.hex())
    parts = {part["name"]: part for part in told["parts"]}
    assert {"flash", "config", "host", "lamp", "bh1750", "sht4x", "bl0937", "relay", "power"} == set(parts)
    assert "lux" in parts["bh1750"]["detail"]


def test_a_part_that_is_broken_fails_the_self_test(board: VirtualBoard, capsys: pytest.CaptureFixture[str]) -> None:
    assert board.program is not None
    chip = board.program.chip("sht4x")
    chip.gone = True
    try:
        board.reset()
        assert not selftest.run(board.url, relay=False, wait_s=4)
    finally:
        chip.gone = False
    told = capsys.readouterr().out
    assert "FAILED  sht4x" in told
    assert "sht4x failed" in told
    assert "ok      bh1750" in told


def test_a_configuration_goes_into_a_file_and_back_and_the_node_keeps_it(
    board: VirtualBoard, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "pole.json"
    kept = keeping.backup(board.url, file)
    assert kept.config == CONFIG
    assert (kept.address, kept.uid, kept.fitted) == (7, board.mac.hex(), ["bh1750", "sht4x", "bl0937"])
    assert KEY.hex() not in file.read_text()
    with pytest.raises(CareError, match=r"pole.json exists\."):
        keeping.backup(board.url, file)

    # The same again changes nothing, nor does a look at what would change.
    assert not keeping.restore(board.url, file, yes=True)
    assert "nothing to change" in capsys.readouterr().out
    other = {**CONFIG, "report_s": 30, "name": "Calea Națională " + "é" * 120, "lamp": {"dim": [["23:00", 60]]}}
    file.write_text(backups.write(msgspec.structs.replace(kept, config=other)))
    assert keeping.restore(board.url, file, dry_run=True)
    told = capsys.readouterr().out
    assert "report_s" in told
    assert "lamp.dim" in told
    assert config_of(board) == CONFIG

    assert keeping.restore(board.url, file, json=True)
    assert json.loads(capsys.readouterr().out)["restored"]
    assert config_of(board) == other
    board.reset()
    assert config_of(board) == other, "it was kept, not only tried"

    # What the node can't use is refused by the node, and all stays as it was.
    file.write_text(backups.write(msgspec.structs.replace(kept, config={**CONFIG, "report_s": 0})))
    with pytest.raises(CareError, match="can't use a value"):
        keeping.restore(board.url, file, yes=True)
    assert config_of(board) == other


def test_a_node_that_loses_its_supply_while_it_is_restored_has_the_old_configuration_or_the_new_one(
    board: VirtualBoard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(configure, "RESTART_S", 2.0)
    old = config_of(board)
    new = {**old, "report_s": 45}
    with CareLine(board.url) as line:
        node = Node(line)
        who = node.meet()
        with pytest.raises(CareError, match="has not come back within 2 s"):
            configure.put(line, node, who, new, waits=lambda _: board.cut_power())
    board.power_on()
    assert config_of(board) in (old, new)


def test_a_backup_of_another_board_is_refused_and_taken_without_its_identity(
    board: VirtualBoard, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = keeping.backup(board.url, tmp_path / "a.json")
    file = tmp_path / "b.json"
    file.write_text(backups.write(msgspec.structs.replace(kept, address=9, uid="a1b2c3d40009", config={"address": 9})))
    with pytest.raises(CareError, match=r"is of node 9 on board a1b2c3d40009, and at the line is node 7"):
        keeping.restore(board.url, file, yes=True)
    assert keeping.restore(board.url, file, other_board=True, dry_run=True, json=True)
    assert "address" not in {change["key"] for change in json.loads(capsys.readouterr().out)["changes"]}


def test_files_come_and_go_and_the_node_goes_on(
    board: VirtualBoard, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "notes.txt"
    source.write_text("Grüße vom Mast\n" * 60)
    files.cp(board.url, str(source), ":", force=False)
    assert board.file("notes.txt") == source.read_bytes()
    assert board.file("notes.txt.new") is None
    with pytest.raises(CareError, match="exists on the board already"):
        files.cp(board.url, str(source), ":notes.txt", force=False)
    files.cp(board.url, ":notes.txt", str(tmp_path / "back.txt"), force=False)
    assert (tmp_path / "back.txt").read_bytes() == source.read_bytes()
    capsys.readouterr()
    files.ls(board.url, "/", json=True)
    assert {"name": "notes.txt", "size": source.stat().st_size, "folder": False} in json.loads(capsys.readouterr().out)
    files.rm(board.url, "notes.txt", force=False)
    with pytest.raises(CareError, match=r"There is no /notes\.txt"):
        files.cat(board.url, "notes.txt")
    with pytest.raises(CareError, match="not empty"):
        files.rm(board.url, "node", force=True)
    assert board.file("node/app.mpy")
    with CareLine(board.url) as line:
        assert Node(line).meet().address == 7


@pytest.mark.parametrize("name", ["main.py", "/boot.py", ":board.json", "node/app.mpy", "felinar_wire", "config.json"])
def test_what_a_node_needs_is_not_changed_by_the_way(name: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("x")
    with pytest.raises(CareError, match="is not changed just so"):
        files.rm("rfc2217://127.0.0.1:1", name, force=False)
    with pytest.raises(CareError, match="is not changed just so"):
        files.cp("rfc2217://127.0.0.1:1", str(tmp_path / "x"), ":" + name.lstrip(":/"), force=False)


@pytest.mark.parametrize("name", ["secrets.ini", ":lib/secret.json", "key.bin", "tls/host.pem"])
def test_secrets_are_not_shown(name: str, tmp_path: Path) -> None:
    for work in (
        lambda: files.cat("x://", name),
        lambda: files.cp("x://", ":" + name.lstrip(":"), str(tmp_path), force=True),
    ):
        with pytest.raises(CareError, match="may hold a secret"):
            work()


def test_the_monitor_tells_what_is_said_both_ways(board: VirtualBoard, capsys: pytest.CaptureFixture[str]) -> None:
    board.reset()
    monitor.run(monitor.Order(board.url, seconds=3, keys=False, json=True), Config())
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    ours = [entry["kind"] for entry in told if entry.get("way") == "out"]
    assert ours[0] == "QUERY"
    assert "TIME" in ours
    hello = next(entry for entry in told if entry.get("kind") == "HELLO")
    assert hello["node"] == 7
    assert hello["fields"]["uid"] == board.mac.hex()
    events = [entry["fields"]["code"] for entry in told if entry.get("kind") == "EVENT"]
    assert "boot" in events
    assert told[-1]["what"] == "end"
    assert told[-1]["kinds"]["EVENT"] == len(events)


def test_a_cable_that_is_pulled_ends_the_monitor_with_a_sentence(board: VirtualBoard) -> None:
    command = [sys.executable, "-m", "felinar", "monitor", board.url, "--no-keys"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "HELLO" in line:
                break
        board.pull()
        try:
            out, err = process.communicate(timeout=30)
        finally:
            board.plug()
    assert process.returncode == 1
    assert (
        err
        == f"felinar: {board.url} is gone: the cable was pulled, or the board has lost its supply.\n  Plug it in again.\n"
    )
    assert "spoiled" in out.splitlines()[-1]


def test_the_prompt_is_given_to_the_terminal_and_the_node_comes_back(board: VirtualBoard) -> None:
    terminal, theirs = pty.openpty()
    command = [sys.executable, "-m", "felinar", "repl", board.url]
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
    os.close(theirs)
    seen = b""
    typed = [(b">>> ", b"6*7\r"), (b"\r\n42\r\n", b"\x1d")]
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if select.select([terminal], [], [], 0.1)[0]:
            try:
                seen += os.read(terminal, 1024)
            except OSError:  # Linux: the other end was closed
                break
        if typed and typed[0][0] in seen:
            os.write(terminal, typed.pop(0)[1])
    os.close(terminal)
    assert process.wait(10) == 0
    assert b"The node starts again" in seen, seen
    with CareLine(board.url) as line:
        assert Node(line).meet().address == 7


def test_somebody_else_at_the_port_is_told(board: VirtualBoard) -> None:
    with CareLine(board.url), pytest.raises(CareError, match="somebody else is connected"):
        selftest.run(board.url)


def test_an_unflashed_board_is_no_node() -> None:
    with VirtualBoard("esp32", 4, micropython=True) as bare:
        with CareLine(bare.url) as line, pytest.raises(CareError, match="is MicroPython's prompt"):
            Node(line).meet(1.0)
        bare.cut_power()
        with CareLine(bare.url) as line, pytest.raises(CareError, match="Nothing answers"):
            Node(line).meet(0.5)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["selftest", "/dev/ttyUSB99"], "There is no port /dev/ttyUSB99"),
        (["monitor", "/dev/null"], "/dev/null is not a serial port"),
        (["backup", "rfc2217://127.0.0.1:1", "{}/x.json"], "Nobody answers at rfc2217://127.0.0.1:1"),
        (["ls", "rfc2217://127.0.0.1:1"], "Nobody answers at rfc2217://127.0.0.1:1"),
        (["ls", "rfc2217://host"], "names no host and port"),
        (["ls", "ftp://host"], "is no kind of port"),
        (["restore", "/dev/null", "{}/none.json"], "none.json can't be read: no such file"),
        (["cp", "/dev/null", "a", "b"], "One of the two is on the board"),
        (["cat", "/dev/null", "../x"], "is no plain path"),
        (["repl", "rfc2217://127.0.0.1:1"], "There is no terminal"),
    ],
)
def test_what_was_asked_wrongly_is_one_sentence(arguments: list[str], sentence: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, [text.replace("{}", str(tmp_path)) for text in arguments])
    assert isinstance(result.exception, CareError), result
    assert sentence in result.exception.sentence
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    "name", ["doctor", "monitor", "selftest", "backup", "restore", "repl", "ls", "cat", "cp", "rm"]
)
def test_each_command_has_help_with_an_example(name: str) -> None:
    result = CliRunner().invoke(app, [name, "--help"])
    assert result.exit_code == 0
    assert "Examples:" in result.output
    assert f"felinar {name}" in result.output
