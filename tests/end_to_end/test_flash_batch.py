"""A batch of virtual boards through the command line, killed in the middle of the write and done the second time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from felinar.config import Config
from felinar.keys.place import open_keys
from felinar.provision import command
from felinar_sim.vboard import VirtualBoard

from tests.host.flash_boards import firmware_file, quick_board

PLAN = (
    "pole;name;place;latitude;longitude;group;lamp_w\r\n"
    "B-1;Strada Unirii 1;Botoșani;47,74;26,66;centru;60\r\n"
    "B-2;Strada Unirii 2;Botoșani;47,74;26,67;centru;60\r\n"
)


def test_killed_in_the_write_and_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FELINAR_SECRET", str(tmp_path / "secret"))
    (tmp_path / "poles.csv").write_bytes(PLAN.encode("utf-8-sig"))
    with VirtualBoard("esp32", 4, seed=11) as one, VirtualBoard("esp32", 4, seed=12) as two:
        boards = {board.url: board for board in (one, two)}
        words = [
            sys.executable, "-m", "felinar", "flash", "--watch", "--once", "--json", "--no-test",
            "--plan", tmp_path / "poles.csv", "--board", quick_board(tmp_path), "--firmware", firmware_file(tmp_path),
            "--data-dir", tmp_path / "data", "--port", one.url, "--port", two.url,
        ]  # fmt: skip
        batch = subprocess.Popen(words, stdout=subprocess.PIPE)
        given, writing = {}, set()
        assert batch.stdout is not None
        for line in batch.stdout:
            told = json.loads(line)
            if told["event"] == "taken":
                given[told["port"]] = told["address"]
            if told.get("stage") == "write" and told.get("part", 0) > 0:
                writing.add(told["port"])
                if len(writing) == 2:
                    break
        os.kill(batch.pid, signal.SIGKILL)
        batch.communicate()
        assert set(given.values()) == {1, 2}
        with command.opened(Config(data_dir=str(tmp_path / "data"))) as books:
            assert books.keys.nodes() == []
            waiting = {a: books.keys.pending_key(a, holder) for a, holder in books.keys.pending()}
        assert set(waiting) == {1, 2}
        again = subprocess.run(words, stdout=subprocess.PIPE, check=True, timeout=120)
        lines = [json.loads(line) for line in again.stdout.splitlines()]
        assert {each["port"]: each["address"] for each in lines[-1]["done"]} == given
        assert lines[-1]["ledger"] == {"labelled": 2}
        store = open_keys(tmp_path / "data")
        for url, address in given.items():
            # The same identity, the same key as before the kill, on the board and in force.
            assert boards[url].nvs()["felinar/key"] == store.root(address) == waiting[address]
            assert json.loads(boards[url].file("config.json") or b"")["pole"] == f"B-{address}"
        assert store.pending() == []
        store.close()
    assert len(list((tmp_path / "data" / "labels").iterdir())) == 2
