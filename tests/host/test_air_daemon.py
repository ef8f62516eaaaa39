"""A daemon in a process of its own with a bridge on its line: nodes, commands to one and to a group, as people see them."""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from felinar.cli import app
from felinar.client import Client, find
from felinar.config import Config
from felinar.errors import ConfigError
from felinar.keys.place import open_keys
from felinar_wire import schema
from typer.testing import CliRunner

from tests.host.air_bench import FakeBridge, Lamp, Street
from tests.host.test_cli import FELINAR, complaint, environment, felinar
from tests.host.wires import until

GROUP = 0xE001


class Caller:
    """A bridge that is reached over TCP, and a lamp that hears it, in real time."""

    def __init__(self, address: int, root: bytes) -> None:
        self.street = Street()
        self.street.start = time.time()  # type: ignore[assignment]
        self.bridge = FakeBridge(self.street)
        self.bridge.host = self  # type: ignore[assignment]
        self.lamp = Lamp(self.street, address, root, [self.bridge])
        self.lock = threading.Lock()
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"socket://127.0.0.1:{self._server.getsockname()[1]}"
        self._caller: socket.socket | None = None
        self._ended = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def receive(self, bridge: FakeBridge, data: bytes) -> None:
        if self._caller:
            with contextlib.suppress(OSError):
                self._caller.send(data)

    def hang_up(self) -> None:
        with self.lock:
            caller, self._caller = self._caller, None
            if caller:
                caller.close()

    def close(self) -> None:
        self._ended = True
        self._thread.join(5)
        self.hang_up()
        self._server.close()

    def _run(self) -> None:
        begin = time.monotonic()
        while not self._ended:
            ready = select.select([self._caller or self._server], [], [], 0.002)[0]
            with self.lock:
                self.street.run(time.monotonic() - begin - self.street.us / 1e6)
                with contextlib.suppress(OSError, ValueError):
                    if ready and self._caller is None:
                        self._caller = self._server.accept()[0]
                    elif ready and self._caller:
                        data = self._caller.recv(4096)
                        if data:
                            self.bridge.feed(data)
                        else:
                            self._caller = None


def commands(data: Path) -> list[dict[str, Any]]:
    with Client(find(Config(data_dir=str(data)))) as client:
        return [msgspec.to_builtins(command) for command in client.commands()]


def test_lamps_on_the_air_are_shown_and_commanded_like_any(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = tmp_path / "secret"
    monkeypatch.setenv("FELINAR_SECRET", str(secret))
    data = tmp_path / "data"
    keys = open_keys(data, create=True)
    root, zone = keys.provision(7), keys.zone_key(GROUP)
    keys.close()
    caller = Caller(7, root)
    caller.lamp.zones = {GROUP: zone}
    (tmp_path / "f.toml").write_text(f'[[bridge]]\nurl = "{caller.url}"\n[nodes.7]\nname = "Piața Mare 7"\n')
    env = {**environment(tmp_path), "FELINAR_SECRET": str(secret)}
    log = (tmp_path / "log").open("w")
    process = subprocess.Popen(
        [*FELINAR, "daemon", "-c", str(tmp_path / "f.toml"), "-d", str(data)], env=env, stdout=log, stderr=log
    )

    def ask(*arguments: str, status: int = 0) -> Any:
        return felinar(tmp_path, *arguments, "-d", str(data), status=status).stdout

    try:
        address = data / "run" / "address.json"
        until(lambda: address.exists() or process.poll() is not None, "the daemon")
        assert process.poll() is None, (tmp_path / "log").read_text()
        until(lambda: caller.lamp.joins, "the lamp to join", 60)
        (node,) = json.loads(ask("nodes", "--json"))
        assert (node["node"], node["name"], node["online"], node["link"]) == (7, "Piața Mare 7", True, caller.url)
        slot = node["radio"]["slot"]
        assert 0 <= slot < 1020
        assert node["radio"]["rssi"] == -90
        table = ask("nodes")
        assert f"-90 dBm, +4.5 dB, slot {slot}" in table
        assert "868.1 MHz, SF7" in table
        assert "1 of 1020" in table

        assert "dim 60 %: stored" in ask("lamp", "7", "dim", "60")
        until(lambda: caller.lamp.orders, "the order", 10)
        with caller.lock:
            assert caller.lamp.orders[0][2][1:3] == [schema.MODE_DIM, 60]
            caller.lamp.event()
        assert ask("lamp", "--group", str(GROUP), "on") == f"group {GROUP}, on: being said by {caller.url}\n"
        until(lambda: caller.lamp.groups, "the command to the group", 5)
        told = complaint(tmp_path, "lamp", "--group", "Piața Mare", "on", "-d", str(data))
        assert "'Piața Mare' is no group" in told
        assert caller.lamp.groups[0][1] == "at once"
        for _ in range(4):  # a busy machine may miss the time of an answer, and this lamp does not repeat what it said
            try:
                until(lambda: caller.lamp.acked, "the alarm's acknowledgement", 15)
                break
            except AssertionError:
                with caller.lock:
                    caller.lamp.event()
        assert caller.lamp.acked
        assert [command["state"] for command in commands(data)] == ["acknowledged"]

        log_text = (tmp_path / "log").read_text()
        assert '"bridge ready"' in log_text
        caller.hang_up()
        until(lambda: '"bridge lost"' in (tmp_path / "log").read_text(), "the loss to be noticed")
        until(lambda: (tmp_path / "log").read_text().count('"bridge ready"') == 2, "the bridge to come back")
    finally:
        process.terminate()
        process.wait(20)
        log.close()
        caller.close()
    assert os.stat(data / "slot-maps.json").st_size > 5
    assert json.loads((data / "slot-maps.json").read_text()).keys() == {"0"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("lamp", "--group", "57345", "on", "--wait"), "do not answer"),
        (("lamp", "--group", "57345", "dim"), "dimmed to a level"),
        (("lamp", "--group", "57345"), "Missing argument"),
        (("lamp", "--group", "57345", "1", "on"), "nothing that a lamp is told"),
        (("lamp", "1", "dim", "101"), "1 to 100 %"),
        (("lamp", "1"), "told one thing"),
    ],
)
def test_what_makes_no_sense_is_told(tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    result = CliRunner().invoke(app, [*arguments, "-d", str(tmp_path)])
    assert result.exit_code != 0
    if isinstance(result.exception, ConfigError):
        assert words in str(result.exception)
    else:
        assert words in result.output


def test_two_bridges_on_one_number_are_refused(tmp_path: Path) -> None:
    (tmp_path / "f.toml").write_text(
        '[[bridge]]\nurl = "socket://127.0.0.1:1"\nnumber = 1\n[[bridge]]\nurl = "socket://127.0.0.1:2"\nnumber = 1\n'
    )
    said = complaint(tmp_path, "daemon", "-c", str(tmp_path / "f.toml"), "-d", str(tmp_path / "data"), status=2)
    assert "Two bridges have the number 1." in said
