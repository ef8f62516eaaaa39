"""What `felinar flash` does with a plan: a batch, the ledger's state, labels, an identity set free."""

from __future__ import annotations

import json as json_
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console

from felinar.cities import city
from felinar.config import Config
from felinar.errors import ConfigError
from felinar.flash import image as images
from felinar.flash.writer import speeds_from
from felinar.keys.place import keys_folder, open_keys
from felinar.provision import labels, screen
from felinar.provision import plan as plans
from felinar.provision.batch import Batch, label_of
from felinar.provision.bench import Bench, EspBench
from felinar.provision.books import Books
from felinar.provision.errors import ProvisionError
from felinar.provision.ledger import Ledger
from felinar.provision.ledger_file import FILE
from felinar.provision.records import DONE, Merged, Record, State

LABELS = "labels"


class Order(msgspec.Struct):
    """What a batch was asked for. `ports`: only these, else all; `once`: end when what is plugged in is through; `pole`:
    only this one, with `replace` for the next board, whoever had it."""

    plan: Path | None = None
    encoding: str | None = None
    ports: Sequence[str] = ()
    board: str = ""
    firmware: Path | None = None
    node_config: Path | None = None
    city: str | None = None
    pole: str | None = None
    replace: bool = False
    once: bool = False
    test: bool = True
    lamp: bool = False
    line: str = ""
    baud: int | None = None
    json: bool = False


def example() -> None:
    """Print an example of a plan."""
    sys.stdout.write(plans.EXAMPLE)


@contextmanager
def opened(settings: Config, *, create: bool = False) -> Iterator[Books]:
    """Ledger and key store of a configuration. Raises ProvisionError, KeyStoreError."""
    keys = open_keys(keys_folder(settings), create=create)
    try:
        ledger = Ledger(settings.directory / FILE)
    except BaseException:
        keys.close()
        raise
    try:
        yield Books(ledger, keys)
    finally:
        ledger.close()
        keys.close()


def batch(settings: Config, order: Order, *, bench: Bench | None = None, stop: threading.Event | None = None) -> int:
    """Flash every board that is plugged in, until Ctrl-C; the exit status: 1 when a board failed."""
    stop = stop or threading.Event()
    if order.replace and order.pole is None:
        raise ConfigError("--replace takes an identity from the board that has it.", "Say whose: --pole POLE.")
    entries = None
    if order.plan is not None:
        entries = plans.load(order.plan, encoding=order.encoding, boards=images.board_ids())
    bench = bench or EspBench(
        named=order.ports,
        board=order.board,
        firmware=order.firmware,
        config=_node_config(order.node_config),
        preset=city(order.city) if order.city else None,
        test=order.test,
        lamp=order.lamp,
        line=order.line,
        speeds=speeds_from(order.baud),
    )
    with opened(settings, create=True) as books:
        merged = books.merge(entries) if entries is not None else None
        poles = [entry.pole for entry in entries] if entries is not None else None
        if order.pole is not None:
            poles = [books.ledger.find(order.pole).entry.pole]
        if not books.ledger.records():
            raise ProvisionError(
                "The ledger has no poles yet.",
                "Name a plan: felinar flash --watch --plan poles.csv (`felinar flash --example` prints one).",
                code="plan",
                asked_wrongly=True,
            )

        def waiting() -> int:
            return sum(record.state is State.WAITING for record in books.ledger.records(poles))

        view: screen.Screen = screen.JsonLines() if order.json else screen.Words(Console(), wait=waiting)
        work = Batch(
            bench,
            books,
            view.event,
            label_dir=settings.directory / LABELS,
            poles=poles,
            replace=order.pole if order.replace else None,
        )
        with view:
            if merged is not None:
                _tell(merged, view.say)
            _watch(work, stop, once=order.once, say=view.say)
        view.end(work.summary, books.ledger.records(poles))
        return 1 if work.summary.failed else 0


def _watch(work: Batch, stop: threading.Event, *, once: bool, say: Callable[[str], None]) -> None:
    try:
        try:
            work.run(stop, once=once)
        except KeyboardInterrupt:
            if work.busy:
                say(f"Waits for {len(work.busy)} boards at work; Ctrl-C once more leaves them as they are.")
        work.wait()
    except KeyboardInterrupt:
        say("Left as they are: plug those boards in again and they go on with their identity and key.")


def _tell(merged: Merged, say: Callable[[str], None]) -> None:
    parts = [f"{len(merged.added)} new", f"{len(merged.changed)} changed", f"{merged.same} known"]
    say(f"The plan has {', '.join(parts)} poles.")
    if merged.differ:
        shown = ", ".join(merged.differ[:8]) + (" …" if len(merged.differ) > 8 else "")
        say(f"On boards already, and other in the plan now: {shown}. --replace --pole POLE writes one anew.")


def _node_config(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        found = json_.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"The configuration {path} can't be read: {error}.", "Name a JSON file.") from error
    if not isinstance(found, dict) or not isinstance(found.get("lamp", {}), dict):
        raise ConfigError(f"The configuration {path} is no object.", "It is like a node's config.json.")
    return found


def _ledger(settings: Config) -> Ledger:
    path = settings.directory / FILE
    if not path.exists():
        raise ProvisionError(
            f"There is no ledger in {settings.directory}.",
            "The first plan makes it: felinar flash --watch --plan FILE.",
            code="ledger",
        )
    return Ledger(path)


def status(settings: Config, *, json: bool = False, poles: Sequence[str] | None = None) -> None:
    """Write how far each pole is."""
    ledger = _ledger(settings)
    try:
        records = ledger.records(poles)
        loose = ledger.loose() if poles is None else []
    finally:
        ledger.close()
    if json:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(screen.status_json(records, loose))).decode() + "\n")
        return
    console = Console()
    console = console if console.is_terminal else Console(width=160)
    if records or not loose:
        console.print(screen.status_table(records))
        console.print(", ".join(f"{number} {state}" for state, number in screen.counts(records).items()))
    if loose:
        console.print("\nBoards without a pole:" if records else "Boards without a pole:")
        console.print(screen.loose_table(loose))


def free(settings: Config, pole: str) -> None:
    """Take a pole's identity from its board, so that the next one gets it."""
    with opened(settings) as books:
        record = books.free(pole)
    sys.stdout.write(f"Pole {record.entry.pole} (node {record.address}) waits for the next board.\n")


def print_labels(settings: Config, out: Path, *, size: str = "a4", skip: int = 0, poles: Sequence[str] = ()) -> None:
    """Write a PDF with the labels of all boards that are done, or of some poles."""
    chosen = labels.layout(size)
    ledger = _ledger(settings)
    try:
        named: list[Record] = [ledger.find(pole) for pole in poles] if poles else ledger.records()
    finally:
        ledger.close()
    undone = [record.entry.pole for record in named if record.state not in DONE]
    if poles and undone:
        raise ProvisionError(
            f"No board is done for {', '.join(undone)}.", "A label says which board it is.", code="labels"
        )
    done = [record for record in named if record.state in DONE]
    pages = labels.save_pdf([label_of(record) for record in done], out, chosen, skip=skip)
    sys.stdout.write(f"{out}: labels: {len(done)}, pages: {pages}\n")
