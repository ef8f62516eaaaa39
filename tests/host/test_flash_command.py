"""`felinar flash` for one board and the ledger: what was not finished is not taken for it, and goes on as the node that it was to be."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from felinar.config import Config
from felinar.flash import bridge, command, steps
from felinar.flash.catalogue import FlashError
from felinar.flash.chip import Chip
from felinar.flash.progress import Progress
from felinar.flash.prove import Part, Proven
from felinar.flash.writer import Written
from felinar.keys.place import open_keys
from felinar.provision.ledger import Ledger
from felinar.provision.ledger_file import FILE
from felinar.provision.records import Loose, State

from tests.host.bench_of_boards import entries, mac
from tests.host.flash_boards import firmware_file

DEVICE = "rfc2217://127.0.0.1:9"


class Killed(BaseException):
    """Stands for a SIGKILL: nobody tidies up."""


class Desk:
    """A board at the port: `mac` is whose, `ends` how the attempt ends after its proof (None: well)."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.firmware = firmware_file(folder)
        self.mac = mac(1)
        self.ends: BaseException | None = None
        self.parts = (Part("radio", True, "sx1262 calibrated"),)
        self.written: list[tuple[int, str, bytes]] = []
        self._capsys = capsys

    def provision(
        self, port: Any, board: str, config: Any, keys: Any, firmware: Any, on_progress: Callable[[Progress], None],
        *, on_chip: Callable[[Chip], int | None], on_proven: Callable[[Any], None], replace: bool, line: str, **_: object,
    ) -> steps.Report:  # fmt: skip
        address = on_chip(Chip("esp32", self.mac, 4)) or config["address"]
        key = keys.prepare(address, self.mac)
        on_progress(Progress(port.device, "write"))
        self.written.append((address, line, key))
        on_progress(Progress(port.device, "boot"))
        keys.activate(address, self.mac)
        on_proven(None)
        if self.ends is not None:
            raise self.ends
        return steps.Report(
            DEVICE, board, self.mac, "esp32", 4, "f", "", "", 1, Written(1, 1, 1, 1), self.parts, {"all": 1.0},
            address=address, proven=Proven(address, self.mac, 1, "0.1.0", 1), line="radio" if line == "radio" else "wired",
        )  # fmt: skip

    def bridge(
        self, port: Any, board: str, firmware: Any, on_progress: Any, *, on_chip: Any, on_written: Any, **_: object
    ) -> bridge.Report:
        on_chip(Chip("esp32", self.mac, 4))
        on_written()
        if self.ends is not None:
            raise self.ends
        heard = bridge.Heard(self.mac, "0.1.0", "sx126x", 22, True, 3.0, 1)
        return bridge.Report(
            DEVICE, board, self.mac, "esp32", 4, "f", "", "", 1, Written(1, 1, 1, 1), self.parts, {"all": 1.0},
            url="/dev/serial/by-id/usb-1", heard=heard,
        )  # fmt: skip

    def run(self, **more: Any) -> tuple[int, dict[str, Any]]:
        order = command.Order(board="sim_radio", port=DEVICE, firmware=self.firmware, json=True, **more)
        try:
            status = command.run(Config(data_dir=str(self.folder)), order)
        finally:
            out = self._capsys.readouterr().out
        return status, json.loads(out.splitlines()[-1])

    def rows(self) -> list[Loose]:
        ledger = Ledger(self.folder / FILE)
        try:
            return ledger.loose()
        finally:
            ledger.close()


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Desk:
    monkeypatch.setenv("FELINAR_SECRET", str(tmp_path / "secret"))
    desk = Desk(tmp_path, capsys)
    monkeypatch.setattr(steps, "provision", desk.provision)
    monkeypatch.setattr(bridge, "flash", desk.bridge)
    return desk


def test_a_board_that_was_killed_after_its_proof_becomes_the_same_node_with_another_key(desk: Desk) -> None:
    desk.ends = Killed()
    with pytest.raises(Killed):
        desk.run()
    (row,) = desk.rows()
    assert (row.role, row.line, row.address, row.state) == ("lamp", "radio", 1, State.PROVEN)
    desk.ends = FlashError("not-running")
    assert desk.run()[1]["code"] == "not-running"
    (row,) = desk.rows()
    assert (row.address, row.state, row.code) == (1, State.FAILED, "not-running")
    desk.ends = None
    status, told = desk.run()
    assert (status, told["event"], told["address"]) == (0, "done", 1)
    assert [row.state for row in desk.rows()] == [State.READY]
    assert {address for address, _, _ in desk.written} == {1}
    assert len({key for _, _, key in desk.written}) == 3
    keys = open_keys(desk.folder)
    assert keys.root(1) == desk.written[-1][2]
    keys.close()
    # The next board is the next node, and so is one that is finished and comes again.
    desk.mac = mac(2)
    assert desk.run(line="wired")[1]["address"] == 2
    assert desk.run()[1]["address"] == 3
    assert desk.run(address=3, replace=True)[1]["address"] == 3
    assert [(row.address, row.line) for row in desk.rows()] == [(1, "radio"), (3, "radio")]


def test_a_part_that_failed_is_in_the_ledger_by_its_code(desk: Desk) -> None:
    desk.parts = (Part("radio", False, "sx1262: it does not answer on SPI"),)
    status, told = desk.run()
    assert (status, told["event"], told["code"]) == (1, "failed", "radio")
    assert "it does not answer on SPI. It still speaks through its cable." in told["error"]
    assert [(row.state, row.code) for row in desk.rows()] == [(State.FAILED, "radio")]
    desk.parts = (Part("bh1750", False), Part("radio", False, "x"))
    assert desk.run()[1]["code"] == "self-test"
    desk.parts = (Part("bh1750", True), Part("radio", True))
    assert desk.run()[1]["event"] == "done"
    assert [(row.address, row.state, row.code) for row in desk.rows()] == [(1, State.READY, "")]


def test_a_bridge_is_in_the_ledger_and_its_entry_is_told(desk: Desk) -> None:
    desk.ends = KeyboardInterrupt()
    assert desk.run(role="bridge")[1]["code"] == "interrupted"
    assert [(row.role, row.state, row.code) for row in desk.rows()] == [("bridge", State.FAILED, "interrupted")]
    desk.ends = None
    status, told = desk.run(role="bridge")
    assert (status, told["event"], told["entry"]) == (0, "done", '[[bridge]]\nurl = "/dev/serial/by-id/usb-1"\n')
    assert [(row.role, row.state, row.port) for row in desk.rows()] == [("bridge", State.READY, DEVICE)]


def test_a_board_of_a_pole_and_a_ledger_that_is_none(desk: Desk) -> None:
    ledger = Ledger(desk.folder / FILE)
    ledger.merge(entries(1))
    ledger.take(desk.mac)
    ledger.close()
    for role in ("lamp", "bridge"):
        status, told = desk.run(role=role)
        assert (status, told["code"]) == (1, "address-taken")
        assert "is pole B-0001, node 1" in told["error"]
    assert desk.rows() == []
    assert desk.run(role="bridge", replace=True)[0] == 0
    ledger = Ledger(desk.folder / FILE)
    assert ledger.find("B-0001").state is State.WAITING
    assert ledger.history(1)[-1].detail == "its board became a bridge"
    ledger.close()
    for name in (FILE, FILE + "-wal", FILE + "-shm"):
        (desk.folder / name).unlink(missing_ok=True)
    (desk.folder / FILE).write_bytes(b"x" * 5000)
    assert desk.run()[1]["code"] == "ledger"
