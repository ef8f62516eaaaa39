"""The command `felinar-sim`: JSON lines, commands, clean ends, errors in one sentence."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from .test_street import make_app


def command(*args: object) -> list[str]:
    return [sys.executable, "-m", "felinar_sim.cli", "street", *map(str, args)]


def events(output: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.splitlines()]


def test_virtual_run_prints_its_books(tmp_path: Path) -> None:
    app = make_app(tmp_path, "appends.py")
    args = (
        "--app",
        app,
        "--nodes",
        2,
        "--virtual",
        "--for",
        10,
        "--json",
        "--status",
        5,
        "--dir",
        tmp_path / "run",
        "--start",
        "2026-03-01",
    )
    done = subprocess.run(command(*args), capture_output=True, text=True, timeout=120, check=True)
    lines = events(done.stdout)
    assert [e["event"] for e in lines] == ["ready", "state", "state", "ledger"]
    assert lines[0]["at"] == 1_772_323_200
    assert lines[-1]["appended"] == 20
    assert lines[-1]["nodes"][1]["boots"] == {"power_on": 1}
    ledger = [json.loads(line) for line in (tmp_path / "run" / "ledger.jsonl").read_text().splitlines()]
    assert len(ledger) == 20
    assert ledger[0] == {"node": 1, "kind": 0, "boot": 7, "seq": 0, "at": ledger[0]["at"], "body": b"body 0".hex()}


def test_real_run_obeys_commands_and_ends_at_sigterm(tmp_path: Path) -> None:
    app = make_app(tmp_path, "appends.py")
    args = ("--app", app, "--json", "--dir", tmp_path / "run", "--tcp")
    with subprocess.Popen(command(*args), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        ready = json.loads(process.stdout.readline())
        assert ready["nodes"][0]["port"] > 0
        process.stdin.write("cut 1\nstate\nfault 1 bh1750 nack true\nfault 1 bh1750 colour 1\ncut 2\nfly 1\non 1\n")
        process.stdin.flush()
        lines: list[dict[str, Any]] = []
        while not any(e.get("command") == "on 1" for e in lines):
            lines.append(json.loads(process.stdout.readline()))
        process.send_signal(signal.SIGTERM)
        lines += events(process.stdout.read())
        assert process.wait(30) == 0
    answers = {e["command"]: e["ok"] for e in lines if e["event"] == "answer"}
    assert answers == {
        "cut 1": True, "state": True, "fault 1 bh1750 nack true": True, "fault 1 bh1750 colour 1": False, "cut 2": False,
        "fly 1": False, "on 1": True,
    }  # fmt: skip
    assert [e["nodes"][0]["powered"] for e in lines if e["event"] == "state"] == [False]
    assert [e["boots"] for e in lines if e["event"] == "boot"] == [2]
    assert lines[-1]["event"] == "ledger"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--app", "/nothing"), "felinar_build"),
        (("--virtual",), "add --for"),
        (("--virtual", "--for", "1", "--zone", "Mars/Olympus"), "time zone"),
    ],
)
def test_errors_are_one_sentence(tmp_path: Path, args: tuple[str, ...], message: str) -> None:
    app = make_app(tmp_path, "appends.py")
    done = subprocess.run(command("--app", app, *args), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_wrong_interpreter_is_told(tmp_path: Path) -> None:
    app = make_app(tmp_path, "appends.py")
    environment = {**os.environ, "FELINAR_MICROPYTHON": "/nothing/micropython"}
    args = ("--app", app, "--virtual", "--for", 1)
    done = subprocess.run(command(*args), capture_output=True, text=True, timeout=60, check=False, env=environment)
    assert done.returncode == 1
    assert "/nothing/micropython cannot be run" in done.stderr
