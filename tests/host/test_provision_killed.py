"""A batch is killed at any line of ours and at each commit: ledger, keys and boards agree afterwards, and it goes on."""

from __future__ import annotations

import os
import random
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from felinar.provision import labels
from felinar.provision.batch import Batch
from felinar.provision.records import DONE, State
from PIL import Image

from tests.host.bench_of_boards import Boards, books, entries, mac

MACS = [mac(n) for n in range(3)]
_OURS = (f"{os.sep}provision{os.sep}", f"{os.sep}keys{os.sep}", "bench_of_boards.py")


def batch(folder: Path) -> None:
    """Three boards, the second of which fails once and is plugged in again."""
    with_books = books(folder)
    with_books.merge(entries(4, line="radio"))
    boards = Boards(folder / "boards", MACS)
    boards.faults = {MACS[1]: [("prove", "no-proof")]}
    work = Batch(boards, with_books, lambda event: None, label_dir=folder / "labels")
    work.label_open()
    for port in (*boards.plugged, boards.plugged[1]):
        work._board(port)
    with_books.close()


def in_child(work: Callable[[], None]) -> int:
    """Do it in a process of its own; the signal that ended it, 0 when none did."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException as error:
            os.write(2, f"{type(error).__name__}: {error}\n".encode())
            os._exit(1)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0


class Fuse:
    """Counts the lines of ours that are run, and kills the process at one of them."""

    def __init__(self, at: int, ours: tuple[str, ...] = _OURS) -> None:
        self.count = 0
        self._at = at
        self._ours = ours

    def __call__(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event == "call" and not any(part in frame.f_code.co_filename for part in self._ours):
            return None
        if event == "line":
            self.count += 1
            if self.count == self._at:
                os.kill(os.getpid(), signal.SIGKILL)
        return self


def traced(
    folder: Path, at: int, work: Callable[[Path], None] = batch, ours: tuple[str, ...] = _OURS
) -> int:  # fmt: skip
    fuse = Fuse(at, ours)
    sys.settrace(fuse)
    try:
        work(folder)
    finally:
        sys.settrace(None)
    return fuse.count


@pytest.fixture(autouse=True)
def _small_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labels, "draw", lambda label: Image.new("1", (8, 8)))


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> int:
    """How many lines a whole batch runs."""
    warm, folder = tmp_path_factory.mktemp("warm"), tmp_path_factory.mktemp("whole")
    for each in (warm, folder):
        (each / "boards").mkdir()
    counted = folder / "lines"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(labels, "draw", lambda label: Image.new("1", (8, 8)))
        batch(warm)  # what is imported or kept the first time takes lines of its own
        assert in_child(lambda: counted.write_text(str(traced(folder, 0))) and None) == 0
    return int(counted.read_text())


def identities(folder: Path) -> dict[str, tuple[int, bytes]]:
    """What is on the boards."""
    boards = Boards(folder / "boards", [])
    return {board: found for board in MACS if (found := boards.has(board)) is not None}


def check(folder: Path) -> dict[str, int]:
    """The invariants; which address each board has in the ledger."""
    with_books = books(folder)
    keys, records = with_books.keys, with_books.ledger.records()
    on_boards = identities(folder)
    boards = Boards(folder / "boards", [])
    owners = {record.mac: record.address for record in records if record.mac}
    assert len({record.address for record in records}) == len(records)
    assert len(owners) == sum(record.mac is not None for record in records)
    for board, (address, key) in on_boards.items():
        # A key that is on a board is never lost, and its identity is that board's alone.
        assert owners[board] == address
        assert key in (keys.root(address), keys.pending_key(address, board))
    active = {address: keys.root(address) for address in keys.nodes()}
    # One that is on no board is never in force.
    assert all((address, key) in on_boards.values() for address, key in active.items())
    by_address = {record.address: record for record in records}
    for address, record in by_address.items():
        assert record.keyed <= (address in active)
        # What counts as finished has been switched over.
        assert (record.state in DONE) <= (record.mac is not None and boards.line(record.mac) == "radio")
    for address, holder in keys.pending():
        assert by_address[address].mac == holder
        assert by_address[address].touched
    with_books.close()
    return owners


def unfinished(folder: Path) -> set[str]:
    """Boards that have proved their key and are not done."""
    with_books = books(folder)
    found = {r.mac for r in with_books.ledger.records() if r.mac and r.keyed and r.state not in DONE}
    with_books.close()
    return found


def kill(folder: Path, at: int) -> None:
    (folder / "boards").mkdir()
    assert in_child(lambda: traced(folder, at) and None) == signal.SIGKILL
    before, keys = check(folder), identities(folder)
    check(folder)
    proven = unfinished(folder)
    batch(folder)
    after = check(folder)
    assert before.items() <= after.items()
    assert set(after) == set(MACS)
    with_books = books(folder)
    assert {r.mac: r.state for r in with_books.ledger.records()} == dict.fromkeys(MACS, State.LABELLED) | {
        None: State.WAITING
    }
    assert with_books.keys.pending() == []
    for board, (address, key) in keys.items():
        now = identities(folder)[board][1]
        assert with_books.keys.root(address) == now
        assert (now == key) == (board not in proven), "a key that may have been on the air is never written twice"
    with_books.close()
    assert len(list((folder / "labels").glob("*.png"))) == 3


@pytest.mark.parametrize("share", range(8))
def test_at_any_line(lines: int, share: int, tmp_path: Path) -> None:
    chosen = random.Random(share).sample(range(1, lines - 1), 3)
    for at in chosen:
        (tmp_path / str(at)).mkdir()
        kill(tmp_path / str(at), at)


def test_after_each_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the ledger, until the first board is through."""
    from felinar.provision import ledger

    plain = ledger.Ledger.__init__
    for number in range(1, 9):
        folder = tmp_path / str(number)
        (folder / "boards").mkdir(parents=True)
        seen: list[str] = []

        def fuse(event: str, seen: list[str] = seen, number: int = number) -> None:
            seen.append(event)
            if len(seen) == number:
                os.kill(os.getpid(), signal.SIGKILL)

        def wired(self: Any, path: Path, fuse: Callable[[str], None] = fuse) -> None:
            plain(self, path, after_commit=fuse)

        monkeypatch.setattr(ledger.Ledger, "__init__", wired)
        assert in_child(lambda folder=folder: batch(folder)) == signal.SIGKILL  # type: ignore[misc]
        monkeypatch.setattr(ledger.Ledger, "__init__", plain)
        before = check(folder)
        batch(folder)
        assert before.items() <= check(folder).items()


_STEPS = (f"{os.sep}books.py", "bench_of_boards.py")
"""Where one step follows the other: key store, ledger, board; what lies between two lines is between two of these."""


def single(folder: Path) -> None:
    """One board, for one of two poles."""
    with_books = books(folder)
    with_books.merge(entries(2, line="radio"))
    boards = Boards(folder / "boards", MACS[:1])
    work = Batch(boards, with_books, lambda event: None, label_dir=folder / "labels")
    work.label_open()
    work._board(boards.plugged[0])
    with_books.close()


def test_between_any_two_steps(tmp_path: Path) -> None:
    """At every line of the books and of the bench, one after the other: no two writes have a gap that is not tried."""
    for name in ("warm", "whole"):
        (tmp_path / name / "boards").mkdir(parents=True)
    single(tmp_path / "warm")
    counted = tmp_path / "lines"
    whole = tmp_path / "whole"
    assert in_child(lambda: counted.write_text(str(traced(whole, 0, single, _STEPS))) and None) == 0
    lines = int(counted.read_text())
    assert lines > 40
    reached = set()
    for at in range(1, lines):
        folder = tmp_path / str(at)
        (folder / "boards").mkdir(parents=True)
        killed = in_child(lambda folder=folder, at=at: traced(folder, at, single, _STEPS) and None)  # type: ignore[misc]
        assert killed == signal.SIGKILL
        before, on_board = check(folder), identities(folder)
        with_books = books(folder)
        records = with_books.ledger.records()
        kept = {with_books.keys.root(a) for a in with_books.keys.nodes()}
        kept |= {with_books.keys.pending_key(a, holder) for a, holder in with_books.keys.pending()}
        with_books.close()
        line, proven = Boards(folder / "boards", []).line(MACS[0]), unfinished(folder)
        reached.add((any(r.keyed for r in records), line, bool(kept), any(r.state in DONE for r in records)))
        if on_board:
            assert kept == {key for _, key in on_board.values()}, "what is on the board is kept, and nothing else"
        single(folder)
        assert before.items() <= check(folder).items()
        after = identities(folder)
        same = on_board.items() <= after.items()
        assert same != bool(proven), "the same key the second time, but for one that may have been on the air"
        with_books = books(folder)
        assert [with_books.keys.root(address) for address in with_books.keys.nodes()] == [after[MACS[0]][1]]
        assert with_books.keys.pending() == []
        with_books.close()
    # Nothing anywhere; kept and not yet written; written and not yet proven; proven; switched over and not yet seen to run; done.
    assert reached == {
        (False, "", False, False),
        (False, "", True, False),
        (False, "wired", True, False),
        (True, "wired", True, False),
        (True, "radio", True, False),
        (True, "radio", True, True),
    }
