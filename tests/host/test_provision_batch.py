"""A batch: every board that is plugged in, several at once, what fails is told and goes on the next time."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from felinar.config import Config
from felinar.errors import ConfigError
from felinar.flash.chip import Chip
from felinar.flash.ports import Port
from felinar.flash.progress import OnProgress
from felinar.provision import command, labels, plan, screen
from felinar.provision.batch import Batch, Event
from felinar.provision.bench import EspBench, Work, node_config
from felinar.provision.books import Books
from felinar.provision.errors import ProvisionError
from felinar.provision.plan import PlanEntry
from felinar.provision.presence import Presence
from felinar.provision.records import State
from PIL import Image
from rich.console import Console

from tests.host.bench_of_boards import Boards, books, entries, mac


@pytest.fixture(autouse=True)
def _small_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labels, "draw", lambda *_: Image.new("1", (8, 8)))


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Books]:
    found = books(tmp_path)
    yield found
    found.close()


def run(found: Books, boards: Boards, **more: object) -> tuple[Batch, list[Event]]:
    events: list[Event] = []
    batch = Batch(boards, found, events.append, label_dir=boards.folder / "labels", **more)  # type: ignore[arg-type]
    batch.run(threading.Event(), once=True)
    return batch, events


def states(found: Books) -> dict[str, State]:
    return {record.entry.pole: record.state for record in found.ledger.records()}


def test_every_board_gets_the_next_pole(opened: Books, tmp_path: Path) -> None:
    opened.merge(entries(3))
    boards = Boards(tmp_path, [mac(1), mac(2)])
    batch, events = run(opened, boards, most=1)
    assert [event.pole for event in batch.summary.done] == ["B-0001", "B-0002"]
    assert [e.event for e in events if e.port == "/dev/ttyUSB0"] == [
        "plugged", "progress", "taken", "progress", "progress", "progress", "progress", "done",
    ]  # fmt: skip
    assert states(opened) == {"B-0001": "labelled", "B-0002": "labelled", "B-0003": "waiting"}
    for number in (1, 2):
        assert boards.has(mac(number)) == (number, opened.keys.root(number))
    assert opened.keys.pending() == []
    assert sorted(path.name for path in (tmp_path / "labels").iterdir()) == ["00001-B-0001.png", "00002-B-0002.png"]
    batch, events = run(opened, boards)
    assert batch.summary.already == 2
    assert not batch.summary.failed


def test_boards_are_at_work_at_the_same_time(opened: Books, tmp_path: Path) -> None:
    opened.merge(entries(4))
    together = threading.Barrier(4, timeout=20)

    class Waiting(Boards):
        def flash(self, port: Port, work: Work, on_progress: OnProgress) -> None:
            together.wait()
            super().flash(port, work, on_progress)

    boards = Waiting(tmp_path, [mac(n) for n in range(4)])
    batch, _ = run(opened, boards)
    assert len(batch.summary.done) == 4
    assert {found[0] for n in range(4) if (found := boards.has(mac(n)))} == {1, 2, 3, 4}


@pytest.mark.parametrize(
    ("stage", "code", "state", "reached"),
    [
        ("connect", "no-sync", State.WAITING, State.WAITING),
        ("build", "does-not-fit", State.FAILED, State.TAKEN),
        ("write", "connection-lost", State.FAILED, State.KEY_STORED),
        ("prove", "no-proof", State.FAILED, State.WRITTEN),
        ("test", "self-test", State.FAILED, State.PROVEN),
        ("switch", "not-running", State.FAILED, State.PROVEN),
    ],
)
def test_a_failure_is_in_the_ledger_and_the_board_is_done_the_next_time(
    opened: Books, tmp_path: Path, stage: str, code: str, state: State, reached: State
) -> None:
    opened.merge(entries(2, line="radio"))
    boards = Boards(tmp_path, [mac(1)])
    boards.faults = {mac(1): [(stage, code)]}
    batch, _ = run(opened, boards)
    failed = batch.summary.failed[0]
    assert failed.code == code
    assert failed.cause
    assert failed.action
    record = opened.ledger.find("B-0001")
    assert (record.state, record.reached) == (state, reached)
    written = boards.has(mac(1))
    assert opened.keys.nodes() == ([1] if stage in ("test", "switch") else [])
    assert opened.keys.pending() == ([(1, mac(1))] if stage in ("write", "prove") else [])
    batch, _ = run(opened, boards)
    assert not batch.summary.failed
    assert states(opened) == {"B-0001": "labelled", "B-0002": "waiting"}
    assert boards.has(mac(1)) == (1, opened.keys.root(1))
    assert boards.line(mac(1)) == opened.ledger.find("B-0001").line == "radio"
    if stage in ("write", "prove"):
        assert boards.has(mac(1)) == written


def test_replace_gives_one_board_the_identity_and_a_new_key(opened: Books, tmp_path: Path) -> None:
    opened.merge(entries(2))
    run(opened, Boards(tmp_path, [mac(1)]))
    old = opened.keys.root(1)
    batch, _ = run(opened, Boards(tmp_path, [mac(2), mac(3)]), replace="B-0001", most=1)
    assert [(event.pole, event.mac[-2:]) for event in batch.summary.done] == [("B-0001", "02"), ("B-0002", "03")]
    assert opened.keys.root(1) != old
    assert opened.ledger.of_mac(mac(1)) is None


def test_a_freed_board_does_not_take_its_key_with_it(opened: Books, tmp_path: Path) -> None:
    opened.merge(entries(1))
    boards = Boards(tmp_path, [mac(1)])
    boards.faults = {mac(1): [("prove", "silent")]}
    run(opened, boards)
    opened.free("B-0001")
    assert opened.keys.pending() == [(1, mac(1))]  # it may be on the board
    run(opened, Boards(tmp_path, [mac(2)]))
    assert opened.keys.root(1) == boards.has(mac(2))[1] != boards.has(mac(1))[1]  # type: ignore[index]


def test_a_fault_of_ours_ends_one_board_only_and_a_label_that_can_not_be_made_none(
    opened: Books, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened.merge(entries(2))
    boards = Boards(tmp_path, [mac(1), mac(2)])

    def broken(label: labels.Label) -> Image.Image:
        raise ProvisionError("no paper", code="labels")

    monkeypatch.setattr(labels, "draw", broken)
    has = boards.has
    monkeypatch.setattr(boards, "has", lambda board: 1 / 0 if board == mac(2) else has(board))
    batch, events = run(opened, boards)
    assert len(batch.summary.done) == 1
    assert [event.code for event in batch.summary.failed] == ["internal"]
    assert "ZeroDivisionError" in batch.summary.failed[0].error
    assert [(event.error, event.code) for event in events if event.event == "no label"] == [("no paper", "labels")]
    monkeypatch.undo()
    batch, _ = run(opened, Boards(tmp_path, []))
    assert sorted(states(opened).values()) == ["failed", "labelled"]


def test_a_plan_that_is_done_and_a_board_that_does_not_fit(opened: Books, tmp_path: Path) -> None:
    opened.merge(entries(1, board="sim"))
    wrong = Boards(tmp_path, [mac(1)], lambda entry, chip: f"The board file {entry.board} is for an esp32s3.")
    batch, _ = run(opened, wrong)
    assert [event.code for event in batch.summary.failed] == ["no-fit"]
    assert "sim is for an esp32s3" in batch.summary.failed[0].error
    run(opened, Boards(tmp_path, [mac(1)]))
    batch, _ = run(opened, Boards(tmp_path, [mac(2)]))
    assert [event.code for event in batch.summary.failed] == ["plan-done"]
    assert batch.summary.failed[0].pole == ""


def test_an_address_that_a_board_got_without_the_plan(opened: Books, tmp_path: Path) -> None:
    opened.merge(entries(2))
    key = opened.keys.provision(1)
    batch, _ = run(opened, Boards(tmp_path, [mac(1)]))
    assert [event.pole for event in batch.summary.done] == ["B-0002"]
    batch, _ = run(opened, Boards(tmp_path, [mac(2)]))
    assert "B-0001 has the address 1, which a board got without the plan" in batch.summary.failed[0].error
    assert opened.keys.root(1) == key
    batch, _ = run(opened, Boards(tmp_path, [mac(2)]), replace="B-0001")
    assert opened.keys.root(1) not in (None, key)


def test_presence() -> None:
    presence = Presence(gone_s=2)
    assert presence.update(["a", "b"], 0) == ["a", "b"]
    assert presence.update(["a"], 1) == []
    assert presence.update(["a", "b"], 1.9) == []  # came back at once: a reset
    assert presence.update(["a"], 4) == []
    assert presence.update(["a", "b"], 4.1) == ["b"]
    assert presence.update([], 5, busy=["a"]) == []
    assert presence.update(["a"], 6.5) == []  # it was at work
    assert presence.update([], 8) == []
    assert presence.update(["a", "b"], 9) == ["b"] or presence.update(["a"], 20) == []


def test_what_is_shown(opened: Books, tmp_path: Path) -> None:
    opened.merge(entries(3))
    boards = Boards(tmp_path, [mac(1), mac(2)])
    boards.faults = {mac(2): [("connect", "no-sync")]}
    out = io.StringIO()
    words = screen.Words(Console(file=out, width=120, force_terminal=True, color_system=None), wait=lambda: 2)
    lines = screen.JsonLines(json_out := io.StringIO())
    events: list[Event] = []
    with words, lines:
        batch = Batch(boards, opened, events.append, label_dir=tmp_path / "labels", most=1)
        batch.run(threading.Event(), once=True)
        for event in events:
            words.event(event)
            lines.event(event)
            if event.stage == "write":
                picture = Console(file=(shown := io.StringIO()), width=120)
                picture.print(words.picture())
                assert "B-0001  Strada Unirii 1  writing 50 %" in shown.getvalue()
                assert "0 done, 0 failed, 2 at work, 2 wait. Ctrl-C ends." in shown.getvalue()
    words.end(batch.summary, opened.ledger.records())
    lines.end(batch.summary, opened.ledger.records())
    text = out.getvalue()
    assert "DONE     B-0001 Strada Unirii 1 is node 1" in text
    assert "FAILED   /dev/ttyUSB1: The chip's boot loader does not answer. (no-sync)" in text
    assert "Hold BOOT" in text
    assert text.count("\a") == 2
    assert "This time 1 done and 1 failed. In the ledger: 2 waiting, 1 labelled." in text
    told = [json.loads(line) for line in json_out.getvalue().splitlines()]
    assert told[-1]["event"] == "summary"
    assert told[-1]["ledger"] == {"waiting": 2, "labelled": 1}
    assert {line["event"] for line in told} == {"plugged", "taken", "progress", "done", "failed", "summary"}
    key = opened.keys.root(1)
    assert key is not None
    assert key.hex() not in json_out.getvalue() + text


def test_where_nothing_can_be_drawn_over_a_line_is_written_when_there_is_news(opened: Books) -> None:
    words = screen.Words(Console(file=(out := io.StringIO()), width=120), live=False)

    def event(stage: str, text: str = "", part: int = 0, port: str = "a") -> None:
        words.event(Event("progress", port, pole="B-1", stage=stage, text=text, part=part, whole=100 if part else 0))

    for part in (1, 50, 100):
        event("write", part=part)
        event("write", part=part, port="b")
    for text in ("", "waits for sps30, scd41", "waits for sps30, scd41", "waits for sps30", "all parts answer"):
        event("test", text)
        event("test", text)
    words.event(Event("failed", "a", pole="B-1", error="It is mute.", code="silent", action="Tap RESET."))
    event("test", "all parts answer")  # the next board at that port
    assert out.getvalue().splitlines() == [
        "a B-1: writing",
        "b B-1: writing",
        "a B-1: self-test",
        "a B-1: self-test (waits for sps30, scd41)",
        "a B-1: self-test (waits for sps30)",
        "a B-1: self-test (all parts answer)",
        "FAILED   B-1 at a: It is mute. (silent)",
        "         Tap RESET.",
        "a B-1: self-test (all parts answer)",
    ]


class Stopped(Boards):
    """Ctrl-C comes while boards are looked for."""

    def __init__(self, folder: Path, macs: Sequence[str], times: int) -> None:
        super().__init__(folder, macs)
        self.times = times
        self.looked = 0

    def ports(self) -> Sequence[Port]:
        self.looked += 1
        if self.looked > self.times:
            raise KeyboardInterrupt
        return super().ports()


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.setenv("FELINAR_SECRET", str(tmp_path / "secret"))
    return Config(data_dir=str(tmp_path / "data"))


def test_the_command(settings: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "poles.csv"
    path.write_text(plan.EXAMPLE, encoding="utf-8")
    (tmp_path / "flash").mkdir()
    bench = Stopped(tmp_path / "flash", [mac(1), mac(2)], 1)
    assert command.batch(settings, command.Order(plan=path), bench=bench) == 0
    told = capsys.readouterr().out
    assert "The plan has 3 new, 0 changed, 0 known poles." in told
    assert "This time 2 done and 0 failed. In the ledger: 1 waiting, 2 labelled." in told
    command.status(settings)
    told = capsys.readouterr().out
    assert "117   B-0117" in told
    assert "1 waiting, 2 labelled" in told
    command.status(settings, json=True)
    found = json.loads(capsys.readouterr().out)
    assert [entry["state"] for entry in found] == ["labelled", "labelled", "waiting"]
    assert found[2]["plan"]["name"] == "Piața Revoluției, colț"
    # Without a plan it goes on with what waits; a failure is in the status.
    bench = Stopped(tmp_path / "flash", [mac(3)], 1)
    bench.faults = {mac(3): [("write", "write")]}
    assert command.batch(settings, command.Order(json=True), bench=bench) == 1
    capsys.readouterr()
    command.status(settings, poles=["B-0117"])
    assert "write: The flash does not hold what was written" in capsys.readouterr().out
    order = command.Order(pole="b-0041", replace=True, once=True, json=True)
    assert command.batch(settings, order, bench=Boards(tmp_path / "flash", [mac(4)])) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["done"][0]["pole"] == "B-0041"
    with pytest.raises(ConfigError, match="--replace takes an identity"):
        command.batch(settings, command.Order(replace=True), bench=bench)
    command.free(settings, "B-0117")
    assert "B-0117 (node 117) waits for the next board" in capsys.readouterr().out
    command.print_labels(settings, tmp_path / "x.pdf")
    assert "labels: 2, pages: 1" in capsys.readouterr().out
    with pytest.raises(ProvisionError, match="No board is done for B-0117"):
        command.print_labels(settings, tmp_path / "x.pdf", poles=["B-0117", "B-0041"])


def test_without_a_ledger(settings: Config, tmp_path: Path) -> None:
    with pytest.raises(ProvisionError, match="There is no ledger"):
        command.status(settings)
    with pytest.raises(ProvisionError, match="no poles yet"):
        command.batch(settings, command.Order(), bench=Boards(tmp_path, []))


def test_a_node_s_configuration() -> None:
    entry = PlanEntry("B-1", "Unirii 1", 47.7, 26.6, "Botoșani", "centru", None, 60.0)
    base = {"report_s": 60, "address": 9, "lamp": {"min_on_s": 5}}
    assert node_config(entry, 7, base) == {
        "report_s": 60, "address": 7, "name": "Unirii 1", "pole": "B-1", "lat": 47.7, "lon": 26.6, "group": "centru",
        "lamp": {"utc_offset_min": 120, "summer_time": True, "min_on_s": 5, "lamp_w": 60.0},
    }  # fmt: skip
    assert base["lamp"] == {"min_on_s": 5}
    assert node_config(PlanEntry("B-1", "x", 1, 2), 7) == {"address": 7, "name": "x", "pole": "B-1", "lat": 1, "lon": 2}


def test_which_board_file_fits() -> None:
    bench = EspBench(board="lilygo_t3_s3")
    entry = entries(1)[0]
    chip = Chip("esp32s3", mac(1), 4, psram_mb=2)
    assert bench.unfit(entry, chip) == ""
    assert "has no radio" in bench.unfit(
        PlanEntry("a", "b", 1, 2, board="sim", line="radio"), Chip("esp32", "0" * 12, 4)
    )
    assert "is for an esp32," in bench.unfit(PlanEntry("a", "b", 1, 2, board="devkitc_rfm95"), chip)
    assert "which board file" in EspBench().unfit(entry, chip)
    assert "no board called" in EspBench(board="nope").unfit(entry, chip)
