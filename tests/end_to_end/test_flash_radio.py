"""Virtual boards from bare to a radio node that is heard on the air, and to a bridge that answers, with the real esptool and mpremote."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from felinar import config as configuration
from felinar.care import prompt
from felinar.config import Config
from felinar.flash import command as flash_command
from felinar.flash import radio
from felinar.keys import Broadcast, Keyring
from felinar.keys.place import open_keys
from felinar.provision import command as many
from felinar.provision.ledger import Ledger
from felinar.provision.ledger_file import FILE
from felinar.provision.records import State
from felinar_air import plan
from felinar_sim.vboard import VirtualBoard
from felinar_wire import WireError, frame, schema

from tests.host.flash_boards import firmware_file, quick_radio_board

PLAN = "pole,name,latitude,longitude,line\nB-1,Strada Unirii 1,47.74,26.66,radio\n"
JOIN_S = 30.0
"""A node joins in the first time for everyone after its first beacon, ten seconds later at most."""


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.setenv("FELINAR_SECRET", str(tmp_path / "secret"))
    monkeypatch.setattr(radio, "RUNS_S", (4.0, 20.0))
    return Config(data_dir=str(tmp_path / "data"))


@pytest.fixture
def shelf(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    folder = tmp_path_factory.getbasetemp()
    return quick_radio_board(folder), firmware_file(folder)


Told = list[dict[str, Any]]
One = Callable[..., tuple[int, Told]]


@pytest.fixture
def one(settings: Config, shelf: tuple[str, Path], capsys: pytest.CaptureFixture[str]) -> One:
    """`felinar flash --json` for one board: its status, and what it told."""

    def work(board: VirtualBoard, **more: object) -> tuple[int, Told]:
        order = flash_command.Order(board=shelf[0], port=board.url, firmware=shelf[1], json=True, **more)  # type: ignore[arg-type]
        status = flash_command.run(settings, order)
        return status, [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    return work


def line_of(board: VirtualBoard) -> str:
    return str(json.loads(board.file("board.json") or b"")["line"]["type"])


def ledger(settings: Config) -> Ledger:
    return Ledger(settings.directory / FILE)


def joins(board: VirtualBoard, settings: Config) -> int:
    """Let the node hear one beacon; the address of the first JOIN_REQ that it sends and that opens with a key of the store."""
    assert board.program is not None
    chip, clock = board.program.chip("radio"), board.program.clock
    store = open_keys(settings.directory, role="sessions")
    try:

        def ms() -> int:
            return clock.now_us // 1000 - schema.EPOCH_UNIX * 1000

        broadcast = Broadcast(store.chain_secret(), store.zone_key)
        keyring = Keyring(
            store, crc=lambda version: schema.crc, now=ms, anchor=broadcast.anchor, slot=lambda address: (0, 0)
        )  # fmt: skip
        end = time.monotonic() + JOIN_S
        while (found := chip.tuning(clock.now_us)) is None and time.monotonic() < end:
            time.sleep(0.05)
        assert found is not None
        assert (found.hz, found.sf) == (plan.DOWNLINK * 1000, 7), "it listens where bridges speak"
        before = len(chip.emissions)
        with clock.lock:
            now = ms()
            data = broadcast.beacon(plan.BEACONS, now, now, 1, 0, bytes(2))
            chip.deliver(data, -80.0, 8.0, clock.now_us + plan.airtime(7, len(data)) + 2000)
        while time.monotonic() < end:
            for emission in chip.emissions[before:]:
                kind, address, _, _ = frame.unpack(emission.data, frame.SEALED)
                if kind == schema.JOIN_REQ:
                    assert keyring.answer(emission.data)
                    return int(address)
            time.sleep(0.05)
    except WireError as error:
        pytest.fail(f"what it sent does not open: {error}")
    finally:
        store.close()
    pytest.fail("it sent no JOIN_REQ")


def test_a_bare_board_becomes_a_radio_node_that_joins(settings: Config, one: One) -> None:
    with VirtualBoard("esp32", 4, seed=21) as board:
        status, told = one(board, line="radio", name="one", lat=47.7, lon=26.6, lamp=True)
        last = told[-1]
        assert (status, last["event"], last["line"], last["address"]) == (0, "done", "radio", 1), last
        parts = {part["name"]: part for part in last["parts"]}
        assert {"bh1750", "sht4x", "bl0937", "relay", "power", "radio"} <= set(parts)
        assert parts["radio"]["detail"] == "sx1262 calibrated, hears; the channel is free"
        assert "node 1 listens" in last["running"]
        stages = list(dict.fromkeys(each["stage"] for each in told[:-1]))
        assert stages == ["connect", "build", "write", "boot", "prove", "test", "radio", "switch", "run", "done"]
        assert line_of(board) == "radio"
        assert board.file("board.json.new") is None
        assert board.program is not None
        assert board.program.chip("radio").wrong == []
        books = ledger(settings)
        (row,) = books.loose()
        assert (row.role, row.line, row.address, row.state) == ("lamp", "radio", 1, State.READY)
        books.close()
        assert joins(board, settings) == 1


def test_a_dead_radio_is_one_error_and_after_repair_the_board_is_done(
    settings: Config,
    shelf: tuple[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "poles.csv").write_text(PLAN + "B-2,Strada Unirii 2,47.74,26.67,radio\n")
    with VirtualBoard("esp32", 4, seed=22, faults=["dead-radio"]) as board, VirtualBoard("esp32", 4, seed=25) as sound:
        order = many.Order(
            plan=tmp_path / "poles.csv", ports=(board.url, sound.url), board=shelf[0], firmware=shelf[1], once=True, test=False, json=True
        )  # fmt: skip
        assert many.batch(settings, order) == 1
        last = [json.loads(line) for line in capsys.readouterr().out.splitlines()][-1]
        assert [(each["port"], each["line"]) for each in last["done"]] == [(sound.url, "radio")]
        (failed,) = last["failed"]
        assert (failed["port"], failed["code"]) == (board.url, "radio")
        assert "it does not answer on SPI" in failed["error"]
        assert "docs/wiring" in failed["action"]
        books = ledger(settings)
        record = books.of_mac(board.mac.hex())
        assert record is not None
        assert (record.state, record.reached, record.code) == (State.FAILED, State.PROVEN, "radio")
        books.close()
        assert line_of(board) == "console", "it still speaks through its cable"
        board.repair()
        # The second time without a line that resets a running program, as a chip's own USB port has none.
        monkeypatch.setattr(prompt, "reset", lambda port: None)
        assert many.batch(settings, order) == 0
        done = [json.loads(line) for line in capsys.readouterr().out.splitlines()][-1]
        assert [(each["address"], each["line"]) for each in done["done"]] == [(record.address, "radio")]
        assert (done["already"], done["ledger"]) == (1, {"labelled": 2})
        assert line_of(board) == "radio"
        keys = open_keys(settings.directory)
        assert keys.root(record.address) == board.nvs()["felinar/key"]
        assert keys.pending() == []
        keys.close()


def test_killed_or_pulled_out_between_proof_and_its_end_it_is_not_taken_for_finished(
    settings: Config,
    shelf: tuple[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "poles.csv").write_text(PLAN)
    with VirtualBoard("esp32", 4, seed=23) as board:
        words = [
            sys.executable, "-m", "felinar", "flash", "--watch", "--once", "--json", "--no-test", "--plan", tmp_path / "poles.csv",
            "--board", shelf[0], "--firmware", shelf[1], "--data-dir", settings.directory, "--port", board.url,
        ]  # fmt: skip
        keys_seen = []
        for stage, line in (("radio", "console"), ("run", "radio")):
            batch = subprocess.Popen(words, stdout=subprocess.PIPE)
            assert batch.stdout is not None
            for told in batch.stdout:
                if json.loads(told).get("stage") == stage:
                    break
            os.kill(batch.pid, signal.SIGKILL)
            batch.communicate()
            assert line_of(board) == line
            books = ledger(settings)
            assert books.find("B-1").state is State.PROVEN
            books.close()
            keys_seen.append(board.nvs()["felinar/key"])
            end = time.monotonic() + 30
            while board.port._client is not None and time.monotonic() < end:
                time.sleep(0.05)
        order = many.Order(ports=(board.url,), board=shelf[0], firmware=shelf[1], once=True, test=False, json=True)
        finish = radio.AtPrompt.finish

        def pulled(*what: Any) -> None:
            board.pull()
            finish(*what)

        monkeypatch.setattr(radio.AtPrompt, "finish", pulled)
        assert many.batch(settings, order) == 1
        (failed,) = json.loads(capsys.readouterr().out.splitlines()[-1])["failed"]
        assert failed["code"] == "connection-lost"
        assert line_of(board) == "console"
        keys_seen.append(board.nvs()["felinar/key"])
        monkeypatch.setattr(radio.AtPrompt, "finish", finish)
        board.plug()
        assert many.batch(settings, order) == 0
        assert json.loads(capsys.readouterr().out.splitlines()[-1])["ledger"] == {"labelled": 1}
        assert line_of(board) == "radio"
        keys = open_keys(settings.directory)
        key = board.nvs()["felinar/key"]
        assert keys.root(1) == key
        assert len({*keys_seen, key}) == 4, (
            "one that may have been on the air is not written again: its counters were erased"
        )
        assert keys.pending() == []
        keys.close()
        # What is done is left alone.
        assert many.batch(settings, order) == 0
        assert json.loads(capsys.readouterr().out.splitlines()[-1])["already"] == 1


def test_a_bare_board_becomes_a_bridge(
    settings: Config, one: One, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with VirtualBoard("esp32", 4, seed=24, faults=["dead-radio"]) as board:
        status, told = one(board, role="bridge")
        assert (status, told[-1]["event"], told[-1]["code"]) == (1, "failed", "radio"), told[-1]
        assert board.file("main.py") is None, "it starts nothing"
        many.status(settings, json=True)
        (row,) = json.loads(capsys.readouterr().out)
        assert (row["role"], row["state"], row["code"], row["plan"]) == ("bridge", "failed", "radio", None)
        board.repair()
        status, told = one(board, role="bridge")
        last = told[-1]
        assert (status, last["event"], last["role"]) == (0, "done", "bridge"), last
        heard = last["heard"]
        assert (heard["uid"], heard["version"], heard["chip"], heard["dbm"]) == (board.mac.hex(), "0.1.0", "sx126x", 22)
        assert heard["own"], "it has said HELLO by itself"
        assert heard["round_trip_ms"] > 0
        file = tmp_path / "felinar.toml"
        file.write_text(last["entry"])
        (entry,) = configuration.load(file).bridge
        assert entry.url == board.url
        assert "felinar/key" not in board.nvs()
        many.status(settings)
        assert "bridge" in capsys.readouterr().out
        assert not (settings.directory / "keys.db").exists(), "no key goes to a bridge"
        # A batch does not make a lamp of it.
        (tmp_path / "poles.csv").write_text(PLAN)
        order = many.Order(
            plan=tmp_path / "poles.csv", ports=(board.url,), board=last["board"], firmware=firmware_file(tmp_path), once=True, json=True
        )  # fmt: skip
        assert many.batch(settings, order) == 1
        failed = json.loads(capsys.readouterr().out.splitlines()[-1])["failed"]
        assert [each["code"] for each in failed] == ["given"]
        assert "is a bridge" in failed[0]["error"]
