"""What a batch shows: a live table on a terminal, a line for each step elsewhere, JSON lines for programs."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence
from typing import Protocol, TextIO

import msgspec
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from felinar.flash.progress import STAGES
from felinar.provision.batch import Event, Summary
from felinar.provision.records import ORDER, Loose, Record, State, shown_mac


class Screen(Protocol):
    """Takes the events of a batch. Used as a context: what is live ends with it."""

    def __enter__(self) -> Screen: ...

    def __exit__(self, *exc: object) -> None: ...

    def event(self, event: Event) -> None: ...

    def say(self, text: str) -> None:
        """Something to people."""

    def end(self, summary: Summary, records: Sequence[Record]) -> None:
        """The last word."""


class JsonLines:
    """One object a line, as things happen; the last one is the summary."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out or sys.stdout

    def __enter__(self) -> JsonLines:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def _line(self, what: object) -> None:
        self._out.write(msgspec.json.encode(what).decode() + "\n")
        self._out.flush()

    def event(self, event: Event) -> None:
        self._line(event)

    def say(self, text: str) -> None:
        self._line({"event": "told", "text": text})

    def end(self, summary: Summary, records: Sequence[Record]) -> None:
        self._line({"event": "summary", **msgspec.to_builtins(summary), "ledger": counts(records)})


class Words:
    """For people. `bell`: a sound with each board that is through."""

    def __init__(
        self, console: Console, *, bell: bool = True, wait: Callable[[], int] = lambda: 0, live: bool | None = None
    ) -> None:
        self._console = console
        self._bell = bell and console.is_terminal
        self._wait = wait
        self._rows: dict[str, Event] = {}
        self._said: dict[str, str] = {}
        self._done = self._failed = 0
        self._lock = threading.RLock()
        shown = console.is_terminal if live is None else live
        self._live = Live(console=console, get_renderable=self.picture, refresh_per_second=8) if shown else None

    def __enter__(self) -> Words:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._live:
            self._live.stop()

    def say(self, text: str) -> None:
        self._console.print(Text(text), soft_wrap=not self._console.is_terminal)

    def event(self, event: Event) -> None:
        with self._lock:
            if event.event in ("plugged", "taken", "progress"):
                self._rows[event.port] = event
                if not self._live and event.event != "plugged":
                    # Where nothing can be drawn over: a line when there is news, which a share of the bytes is not.
                    line = f"{event.port} {_who(event)}".rstrip() + f": {_step(event, share=False)}"
                    if self._said.get(event.port) != line:
                        self._said[event.port] = line
                        self.say(line)
                return
            self._rows.pop(event.port, None)
            self._said.pop(event.port, None)
            self._done += event.event == "done"
            self._failed += event.event == "failed"
        if event.event == "done":
            label = f"; label {event.label}" if event.label else ""
            by = f", {event.line}" if event.line else ""
            self._line("green", "DONE", f"{_who(event)} is node {event.address}{by} ({event.seconds:.0f} s){label}")
        elif event.event == "failed":
            who = f"{_who(event)} at {event.port}" if event.pole else event.port
            self._line("red", "FAILED", f"{who}: {event.error} ({event.code})", event.action)
        elif event.event == "already":
            self._line("cyan", "ALREADY", f"the board at {event.port} is {_who(event)}, node {event.address}")
        elif event.event == "no label":
            self._line("yellow", "NO LABEL", f"{_who(event)}: {event.error}", event.action)

    def _line(self, style: str, word: str, text: str, action: str = "") -> None:
        line = Text.assemble((f"{word:8} ", f"bold {style}"), text)
        for each in (line, Text(f"         {action}")) if action else (line,):
            self._console.print(each, soft_wrap=not self._console.is_terminal)
        if self._bell:
            self._console.bell()

    def picture(self) -> Group:
        """The table as it is now."""
        table = Table(expand=False, box=None, header_style="bold")
        for column in ("port", "pole", "name", "step", ""):
            table.add_column(column, no_wrap=True)
        with self._lock:
            for port, event in sorted(self._rows.items()):
                bar = ProgressBar(event.whole, event.part, width=24) if event.whole else Text("")
                table.add_row(port, event.pole, event.name, _step(event), bar)
            busy = len(self._rows)
            line = f"{self._done} done, {self._failed} failed, {busy} at work, {self._wait()} wait. "
        return Group(table if busy else Text("Plug boards in."), Text(line + "Ctrl-C ends.", style="dim"))

    def end(self, summary: Summary, records: Sequence[Record]) -> None:
        states = counts(records)
        said = ", ".join(f"{number} {state}" for state, number in states.items()) or "no poles"
        self._console.print(
            Text(f"This time {len(summary.done)} done and {len(summary.failed)} failed. In the ledger: {said}.")
        )
        for event in summary.failed:
            self._console.print(Text(f"  {event.port} {event.pole}: {event.code}: {event.error}"))


def _who(event: Event) -> str:
    return f"{event.pole} {event.name}".strip()


def _step(event: Event, *, share: bool = True) -> str:
    if event.event == "plugged":
        return event.text or "plugged in"
    if event.event == "taken":
        return event.text or "has its place"
    part = f" {100 * event.part // event.whole} %" if event.whole and share else ""
    return f"{STAGES.get(event.stage, event.stage)}{part}" + (f" ({event.text})" if event.text else "")


def counts(records: Sequence[Record]) -> dict[str, int]:
    """How many entries are in each state, in the states' order."""
    order = (*ORDER, State.FAILED, State.REVOKED)
    found = [record.state for record in records]
    return {str(state): found.count(state) for state in order if state in found}


def status_table(records: Sequence[Record]) -> Table:
    """The ledger for people."""
    table = Table(box=None, header_style="bold")
    for column in ("node", "pole", "name", "line", "state", "board", ""):
        table.add_column(column, no_wrap=column != "", overflow="fold")
    for record in records:
        why = f"{record.code}: {record.detail}" if record.code else record.detail
        if record.state is State.FAILED and not record.touched:
            why += " Nothing was written: the next board may have it."
        mac = shown_mac(record.mac) if record.mac else ""
        line = record.line or record.entry.line
        table.add_row(str(record.address), record.entry.pole, record.entry.name, line, record.state, mac, why.strip())
    return table


def loose_table(boards: Sequence[Loose]) -> Table:
    """Boards without a pole, for people."""
    table = Table(box=None, header_style="bold")
    for column in ("role", "node", "name", "line", "state", "board", "port", ""):
        table.add_column(column, no_wrap=column != "", overflow="fold")
    for one in boards:
        why = f"{one.code}: {one.detail}" if one.code else ""
        node = str(one.address) if one.address else ""
        table.add_row(one.role, node, one.name, one.line, one.state, shown_mac(one.mac), one.port, why)
    return table


def status_json(records: Sequence[Record], loose: Sequence[Loose] = ()) -> list[dict[str, object]]:
    """The ledger for programs: poles, then boards without one (`plan` is null; a bridge's address, too)."""
    poles: list[dict[str, object]] = [
        {
            "role": "lamp",
            "line": record.line or record.entry.line or None,
            "address": record.address,
            "state": record.state,
            "reached": record.reached,
            "mac": shown_mac(record.mac) if record.mac else None,
            "code": record.code,
            "detail": record.detail,
            "changed": record.changed,
            "plan": msgspec.to_builtins(record.entry),
        }
        for record in records
    ]
    alone: list[dict[str, object]] = [
        {
            "role": one.role,
            "line": one.line or None,
            "address": one.address or None,
            "name": one.name,
            "port": one.port,
            "state": one.state,
            "mac": shown_mac(one.mac),
            "code": one.code,
            "detail": one.detail,
            "changed": one.changed,
            "plan": None,
        }
        for one in loose
    ]
    return poles + alone
