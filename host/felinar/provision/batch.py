"""Every board that is plugged in is flashed, several at once, each by a thread that watches over its process."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, Literal

import msgspec

from felinar.errors import FelinarError
from felinar.flash import catalogue
from felinar.flash.chip import Chip
from felinar.flash.ports import Port
from felinar.flash.progress import Progress
from felinar.provision import labels
from felinar.provision.bench import Bench, Job
from felinar.provision.books import Books
from felinar.provision.errors import ProvisionError
from felinar.provision.presence import Presence
from felinar.provision.records import Record, State, shown_mac

_LOOK_S = 0.25

What = Literal["plugged", "taken", "progress", "done", "failed", "already", "no label"]


class Event(msgspec.Struct, frozen=True, omit_defaults=True):
    """What happened at a port. `code`, `error`, `cause`, `action` are a failure's, of the catalogue."""

    event: What
    port: str = ""
    mac: str = ""
    pole: str = ""
    name: str = ""
    address: int = 0
    stage: str = ""
    part: int = 0
    whole: int = 0
    text: str = ""
    label: str = ""
    seconds: float = 0.0
    code: str = ""
    error: str = ""
    cause: str = ""
    action: str = ""
    line: str = ""


class Summary(msgspec.Struct):
    """What a batch did."""

    done: list[Event] = []
    failed: list[Event] = []
    already: int = 0


class _Work:
    """One board's way through the books; also what is known of it so far, for its events."""

    def __init__(self, batch: Batch, port: Port) -> None:
        self._batch = batch
        self.port = port
        self.began = batch.now()
        self.record: Record | None = None
        self.mac = ""
        self.done = False
        self.line = ""
        self._key = b""

    def event(self, what: What, **more: Any) -> Event:
        about: dict[str, Any] = {"port": self.port.device, "mac": shown_mac(self.mac), "line": self.line}
        if self.record is not None:
            about |= {"pole": self.record.entry.pole, "name": self.record.entry.name, "address": self.record.address}
        return Event(what, **(about | more))

    def found(self, chip: Chip) -> Job | None:
        self.mac = chip.mac
        taken, self._key = self._batch.take(chip)
        self.record = taken.record
        if taken.done:
            self.done = True
            self.line = taken.record.line
            return None
        self._batch.tell(self.event("taken", text="" if taken.fresh else "goes on with what it had"))
        return Job(taken.record.entry, taken.record.address, self._key)

    def _mine(self) -> tuple[int, str]:
        assert self.record is not None
        return self.record.address, self.mac

    def store_key(self, line: str) -> None:
        self.line = line
        self._batch.books.store_key(*self._mine(), self._key, line)

    def written(self) -> None:
        self._batch.books.written(*self._mine())

    def proven(self) -> None:
        self._batch.books.proven(*self._mine())

    def ready(self) -> None:
        self._batch.books.ready(*self._mine())

    def progress(self, progress: Progress) -> None:
        more = msgspec.structs.asdict(progress)
        self._batch.tell(self.event("progress", **{key: more[key] for key in ("stage", "part", "whole", "text")}))


class Batch:
    """`on_event` is called from any thread, one call at a time. `poles`: only these of the ledger; `replace`: the pole
    whose identity the first board gets, whoever had it; `most` boards are at work at once."""

    def __init__(
        self,
        bench: Bench,
        books: Books,
        on_event: Callable[[Event], None],
        *,
        label_dir: Path,
        poles: Collection[str] | None = None,
        replace: str | None = None,
        most: int = 16,
        now: Callable[[], float] = time.monotonic,
        presence: Presence | None = None,
    ) -> None:
        self.books = books
        self.now = now
        self.summary = Summary()
        self._bench = bench
        self._on_event = on_event
        self._label_dir = label_dir
        self._poles = poles
        self._replace = replace
        self._most = most
        self._presence = presence or Presence()
        self._lock = threading.RLock()
        self._queue: list[Port] = []
        self._threads: dict[str, threading.Thread] = {}

    def tell(self, event: Event) -> None:
        """Pass an event on, and count it."""
        with self._lock:
            if event.event == "done":
                self.summary.done.append(event)
            elif event.event == "failed":
                self.summary.failed.append(event)
            elif event.event == "already":
                self.summary.already += 1
            self._on_event(event)

    def take(self, chip: Chip) -> Any:
        """The identity for a board; see `Books.take`."""
        with self._lock:
            replace, self._replace = self._replace, None
        try:
            return self.books.take(
                chip.mac, unfit=lambda entry: self._bench.unfit(entry, chip), poles=self._poles, replace=replace
            )
        except BaseException:
            with self._lock:
                self._replace = replace
            raise

    @property
    def busy(self) -> list[str]:
        """Ports at work."""
        return [key for key, thread in self._threads.items() if thread.is_alive()]

    def look(self) -> None:
        """Begin with what has been plugged in since the last look."""
        ports = {_key(port): port for port in self._bench.ports()}
        busy = self.busy
        for key in self._presence.update(ports, self.now(), busy):
            self.tell(Event("plugged", ports[key].device, text=ports[key].description))
            self._queue.append(ports[key])
        while self._queue and len(busy) < self._most:
            port = self._queue.pop(0)
            thread = threading.Thread(target=self._board, args=(port,), name=port.device, daemon=True)
            self._threads[_key(port)] = thread
            busy.append(_key(port))
            thread.start()

    def run(self, stop: threading.Event, *, once: bool = False) -> None:
        """Look again and again until `stop` is set; with `once` until what is plugged in now is through."""
        self.label_open()
        while not stop.is_set():
            self.look()
            if once and not self.busy and not self._queue:
                return
            stop.wait(_LOOK_S)

    def wait(self) -> None:
        """Until the boards that are at work are through; no new ones are begun."""
        for thread in list(self._threads.values()):
            while thread.is_alive():  # in pieces, so that Ctrl-C is heard
                thread.join(0.2)

    def label_open(self) -> None:
        """Make the labels that are still missing, of boards that were proven when an earlier batch was ended."""
        for record in self.books.ledger.records():
            if record.state is State.READY and record.mac is not None:
                self._label(record, record.mac, Event("no label", pole=record.entry.pole, address=record.address))

    def _board(self, port: Port) -> None:
        work = _Work(self, port)
        try:
            self._bench.flash(port, work, work.progress)
            if work.done:
                self.tell(work.event("already"))
                return
            assert work.record is not None
            record = msgspec.structs.replace(work.record, line=work.line)
            label = self._label(record, work.mac, work.event("no label"))
            self.tell(work.event("done", label=label, seconds=round(self.now() - work.began, 1)))
        except FelinarError as error:
            self._failed(work, error)
        except Exception as error:  # a fault of ours at one board must not end the others
            self._failed(work, ProvisionError(f"{type(error).__name__}: {error}", "Please report it.", code="internal"))
        finally:
            if work.record is not None:
                self.books.let_go(work.record.address)

    def _failed(self, work: _Work, error: FelinarError) -> None:
        told = catalogue.told(error)
        if work.record is not None and not work.done:
            try:
                self.books.failed(work.record.address, work.mac, told["code"], error.sentence)
            except FelinarError as second:
                told["error"] += f" The ledger could not note it: {second.sentence}"
        self.tell(work.event("failed", seconds=round(self.now() - work.began, 1), **told))

    def _label(self, record: Record, mac: str, missing: Event) -> str:
        try:
            path = labels.save_png(label_of(record), self._label_dir)
            self.books.labelled(record.address, mac)
        except FelinarError as error:
            # The board is good without: its label is made by the next batch, or with --labels.
            self.tell(msgspec.structs.replace(missing, **catalogue.told(error)))
            return ""
        return str(path)


def label_of(record: Record) -> labels.Label:
    """What is on an entry's label."""
    entry = record.entry
    return labels.Label(record.address, entry.pole, entry.name, entry.place, shown_mac(record.mac or ""), record.line)


def _key(port: Port) -> str:
    # The socket, where it is known: a chip's own USB device has other names before and after it was written.
    return port.by_path or port.device
