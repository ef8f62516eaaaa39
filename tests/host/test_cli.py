"""The command line as people meet it: each command in a process of its own."""

from __future__ import annotations

import csv
import fcntl
import hashlib
import io
import json
import os
import pty
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from felinar.cli import app
from felinar.store import SqliteStore
from typer.testing import CliRunner

from tests.host.fake_node import FakeNode
from tests.host.wires import PtyWire, until

FELINAR = [sys.executable, "-m", "felinar"]


def environment(folder: Path) -> dict[str, str]:
    plain = {key: value for key, value in os.environ.items() if not key.startswith("FELINAR")}
    return {**plain, "XDG_CONFIG_HOME": str(folder), "XDG_DATA_HOME": str(folder), "COLUMNS": "160"}


def felinar(folder: Path, *arguments: str, status: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*FELINAR, *arguments], env=environment(folder), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == status, f"{arguments} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done


def complaint(folder: Path, *arguments: str, status: int = 1) -> str:
    """What a command that must fail says: one sentence, one remedy, no traceback."""
    said = felinar(folder, *arguments, status=status).stderr
    lines = [line for line in said.splitlines() if not line.startswith("{")]
    assert len(lines) in (1, 2), said
    assert lines[0].startswith("felinar: ")
    assert all(line.startswith("  ") for line in lines[1:])
    return " ".join(line.strip() for line in lines)


class Running:
    """A daemon in a process of its own, and a node on its line."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.wire = PtyWire(FakeNode(), folder / "line")
        self.wire.start()
        self.log = (folder / "log").open("w")
        self.process = self.start()

    def start(self) -> subprocess.Popen[bytes]:
        (self.folder / "f.toml").write_text('[nodes.1]\nname = "Strada Unirii 1"\n')
        process = subprocess.Popen(
            [*FELINAR, "daemon", "-c", str(self.folder / "f.toml"), "-d", str(self.data), "-p", self.wire.url],
            env=environment(self.folder), stderr=self.log, stdout=self.log,
        )  # fmt: skip
        address = self.data / "run" / "address.json"
        until(lambda: address.exists() or process.poll() is not None, "the daemon")
        assert process.poll() is None, (self.folder / "log").read_text()
        return process

    def ask(self, *arguments: str, status: int = 0) -> str:
        return felinar(self.folder, *arguments, "-d", str(self.data), status=status).stdout

    def nodes(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.ask("nodes", "--json"))
        return found


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    one = Running(tmp_path)
    yield one
    if one.process.poll() is None:
        one.process.terminate()
    one.process.wait(20)
    one.wire.close()
    one.log.close()


def test_an_evening_at_the_command_line(running: Running) -> None:
    running.wire.report(25)
    until(lambda: not running.wire.pending, "the acknowledgements")

    (node,) = running.nodes()
    assert (node["node"], node["name"], node["stored"], node["online"]) == (1, "Strada Unirii 1", 25, True)
    assert "Strada Unirii 1" in running.ask("nodes")

    table = running.ask("readings", "--node", "strada unirii 1")
    assert table.count("56.1") == 20, "the newest twenty unless asked otherwise"
    rows = list(csv.DictReader(io.StringIO(running.ask("readings", "--since", "1d", "-f", "csv"))))
    assert [row["seq"] for row in rows] == [str(i) for i in range(25)]
    assert (rows[0]["pm25"], rows[0]["co2"], rows[0]["time_source"]) == ("8.4", "", "node")
    found = json.loads(running.ask("readings", "--limit", "2", "--format", "json"))
    assert [reading["seq"] for reading in found] == [23, 24]
    assert found[0]["values"]["leq"] == 56.1
    assert json.loads(running.ask("readings", "--since", "1d", "--until", "12h", "-f", "json")) == []

    said = running.ask("lamp", "1", "dim", "60", "--for", "10m")
    assert said in ("command 1, node 1, dim 60 %: stored\n", "command 1, node 1, dim 60 %: sent\n")
    until(lambda: running.wire.node.executed, "the command")
    picture = running.folder / "street.svg"
    lines = running.ask("live", "--for", "1s", "--svg", str(picture))
    assert "node 1 Strada Unirii 1: lux" in lines
    assert picture.read_text().startswith("<svg")


def test_a_lamp_command_is_waited_for_until_its_power_proves_it(running: Running) -> None:
    running.wire.report(2)
    until(lambda: not running.wire.pending, "the first reports")
    waiting = subprocess.Popen(
        [*FELINAR, "lamp", "1", "dim", "60", "--wait", "--json", "-d", str(running.data)],
        env=environment(running.folder), stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    until(lambda: running.wire.node.executed, "the command")
    ahead = 2
    while waiting.poll() is None:
        with running.wire.lock:
            running.wire.node.report(time.time() + ahead)
        ahead += 2
        until(lambda: not running.wire.pending, "the report")
        time.sleep(0.1)
        assert ahead < 400
    assert waiting.stdout is not None
    done = json.loads(waiting.stdout.read())
    assert (waiting.returncode, done["state"], done["power_w"]) == (0, "measured", 36.0)
    with running.wire.lock:
        running.wire.node.refuse = 1
    assert "refused (the node refused it)" in running.ask("lamp", "1", "off", "--wait", status=3)
    with running.wire.lock:
        running.wire.node.deaf = True
    assert "on: sent" in running.ask("lamp", "1", "on", "--wait", "--timeout", "1s", status=4)


def test_a_killed_daemon_comes_back_with_everything(running: Running) -> None:
    running.wire.report(10)
    until(lambda: not running.wire.pending, "the first reports")
    running.process.send_signal(signal.SIGKILL)
    running.process.wait(20)
    assert "not running" in complaint(running.folder, "nodes", "-d", str(running.data))
    running.wire.report(5, lux=1)
    running.process = running.start()
    until(lambda: not running.wire.pending, "the reports made meanwhile")
    (node,) = running.nodes()
    assert (node["stored"], node["gaps"]) == (15, 0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_daemon_that_is_told_to_end_leaves_nothing_behind(running: Running, number: signal.Signals) -> None:
    running.wire.report(3)
    until(lambda: not running.wire.pending, "the reports")
    running.process.send_signal(number)
    assert running.process.wait(20) == 0
    assert sorted(path.name for path in running.data.rglob("*") if path.is_file()) == ["felinar.sqlite3", "lock"]
    log = (running.folder / "log").read_text().splitlines()
    events = [json.loads(line)["event"] for line in log]
    assert events[0] in ("line opened", "daemon ready")
    assert events[-1] == "daemon ends"


def test_a_second_daemon_on_the_same_data_is_refused(running: Running) -> None:
    said = complaint(running.folder, "daemon", "-d", str(running.data))
    assert f"Another felinar daemon (process {running.process.pid})" in said
    assert running.nodes() is not None, "the first goes on"


def test_a_live_view_ends_when_the_daemon_does(running: Running) -> None:
    view = subprocess.Popen(
        [*FELINAR, "live", "-d", str(running.data)],
        env=environment(running.folder), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    running.wire.report(1)
    assert view.stdout is not None
    assert "node 1 Strada Unirii 1" in view.stdout.readline()
    running.process.terminate()
    _, said = view.communicate(timeout=30)
    assert view.returncode == 1
    assert "daemon" in said
    assert "Traceback" not in said


# What goes wrong


def test_no_daemon(tmp_path: Path) -> None:
    for arguments in (("nodes",), ("live",), ("readings",), ("lamp", "1", "on")):
        said = complaint(tmp_path, *arguments, "-d", str(tmp_path / "data"))
        assert said == (
            f"felinar: No daemon is running on {tmp_path / 'data'}. Start it with: felinar daemon --port /dev/ttyUSB0"
        )
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [("[[link]\n", "is not valid TOML"), ("[[link]]\nulr = 'x'", "Did you mean 'url'"), (None, "no such file")],
)
def test_a_bad_configuration(tmp_path: Path, text: str | None, words: str) -> None:
    file = tmp_path / "felinar.toml"
    if text is not None:
        file.write_text(text)
    said = complaint(tmp_path, "daemon", "-c", str(file), "-d", str(tmp_path / "data"), status=2)
    assert words in said
    assert str(file) in said
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("port", "words"),
    [
        ("/dev/ttyFELINAR9", "There is no port /dev/ttyFELINAR9. Is the adapter plugged in?"),
        ("/dev/null", "/dev/null is not a serial port."),
        ("socket://127.0.0.1", "names no host and port"),
        ("socket://127.0.0.1:1", "connection refused"),
    ],
)
def test_a_wrong_port(tmp_path: Path, port: str, words: str) -> None:
    assert words in complaint(tmp_path, "daemon", "-p", port, "-d", str(tmp_path / "data"))


def test_a_port_in_use(tmp_path: Path) -> None:
    master, slave = pty.openpty()
    try:
        fcntl.flock(slave, fcntl.LOCK_EX)
        said = complaint(tmp_path, "daemon", "-p", os.ttyname(slave), "-d", str(tmp_path / "data"))
        assert f"The port {os.ttyname(slave)} is in use by process {os.getpid()} (" in said
    finally:
        os.close(master)
        os.close(slave)


def _newer(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()


def _truncated(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [(_newer, "is of version 99"), (_truncated, "is truncated"), (lambda path: os.truncate(path, 0), "is empty")],
)
def test_a_database_that_cannot_be_used(tmp_path: Path, spoil: Any, words: str) -> None:
    data = tmp_path / "data"
    data.mkdir()
    database = data / "felinar.sqlite3"
    SqliteStore(database).close()
    spoil(database)
    before = hashlib.sha256(database.read_bytes()).digest()
    said = complaint(tmp_path, "daemon", "-d", str(data))
    assert words in said
    assert "nothing was changed" in said
    assert hashlib.sha256(database.read_bytes()).digest() == before
    assert [path.name for path in data.iterdir() if path.is_file()] == ["felinar.sqlite3"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("lamp", "1", "dim"), "dimmed to a level"),
        (("lamp", "1", "on", "60"), "'on' has no level"),
        (("lamp", "1", "on", "--for", "soon"), "not a duration"),
        (("readings", "--since", "yesterday"), "not a time"),
        (("flash", "--board", "sim", "--role", "bridge", "--name", "x"), "A bridge has neither line, address, name"),
        (("flash", "--board", "heltec_v3", "--role", "bridge", "--line", "radio"), "A bridge has neither line"),
        (("flash", "--watch", "--role", "bridge"), "A bridge is at no pole"),
    ],
)
def test_asked_wrongly(tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    assert words in complaint(tmp_path, *arguments, "-d", str(tmp_path), status=2)


def test_help_has_examples() -> None:
    for command in ("daemon", "live", "nodes", "readings", "lamp", "flash"):
        assert "Examples" in CliRunner().invoke(app, [command, "--help"]).stdout
    assert "felinar 0." in CliRunner().invoke(app, ["--version"]).stdout
