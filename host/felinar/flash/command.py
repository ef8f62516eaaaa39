"""What `felinar flash` does with one board: bars for people, a JSON object a line for programs."""

from __future__ import annotations

import json as json_
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.table import Table

from felinar.config import NODE_MAX, NODE_MIN, Config
from felinar.errors import FelinarError
from felinar.flash import firmware as firmwares
from felinar.flash import image as images
from felinar.flash import ports, steps
from felinar.flash.catalogue import FlashError, told
from felinar.flash.progress import STAGES, Progress
from felinar.flash.writer import SPEEDS
from felinar.keys.interface import KeyStore, KeyStoreError
from felinar.keys.place import keys_folder, open_keys

if TYPE_CHECKING:
    from felinar.flash.chip import Chip
    from felinar.provision.ledger import Ledger


class Order(msgspec.Struct):
    """What was asked for. `address` 0 takes the first that is free; `node_config` is a file like a node's config.json."""

    board: str = ""
    port: str | None = None
    firmware: Path | None = None
    address: int = 0
    name: str = ""
    lat: float | None = None
    lon: float | None = None
    node_config: Path | None = None
    baud: int | None = None
    replace: bool = False
    test: bool = True
    lamp: bool = False
    json: bool = False


class _Screen(Protocol):
    def step(self, progress: Progress) -> None: ...

    def say(self, text: str) -> None: ...


class _JsonLines:
    """One object a line: `progress`, `note`, and last `done` or `failed`."""

    def step(self, progress: Progress) -> None:
        _line(progress.json())

    def say(self, text: str) -> None:
        _line({"event": "note", "text": text})


class _Words:
    """A bar for the write, a line for each other stage."""

    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._task = bars.add_task(STAGES["connect"], total=None)

    def step(self, progress: Progress) -> None:
        text = STAGES[progress.stage] + (f": {progress.text}" if progress.text else "")
        self._bars.update(self._task, description=text, completed=progress.part, total=progress.whole or None)

    def say(self, text: str) -> None:
        self._bars.console.print(text, highlight=False, soft_wrap=True)


def run(settings: Config, order: Order) -> int:
    """Flash one board; the exit status: 0 when it is proven and passed its self-test. Raises FelinarError."""
    failed: FelinarError | None = None
    with _screen(order.json) as screen:
        try:
            report = _flash(settings, order, screen)
        except KeyboardInterrupt:
            failed = FlashError("interrupted")
        except FelinarError as problem:
            failed = problem
    if failed is not None:
        if not order.json:
            raise failed
        _line({"event": "failed", **told(failed)})
        return failed.exit_status
    if order.json:
        _line({"event": "done" if report.passed else "failed", **report.json(), **_self_test(report)})
    else:
        _show(report)
        if not report.passed:
            raise FlashError("self-test", f"The node has its key, but {', '.join(report.failed)} failed.")
    return 0 if report.passed else 1


def _flash(settings: Config, order: Order, screen: _Screen) -> steps.Report:
    board = images.board(order.board)
    port = ports.named(order.port) if order.port else ports.only()
    config = _node_config(order)
    loaded = firmwares.load(order.firmware or firmwares.Cache().find(board, screen.say))
    speeds = tuple(speed for speed in SPEEDS if order.baud is None or speed < order.baud)
    try:
        keys = open_keys(keys_folder(settings), create=True)
    except KeyStoreError as error:
        raise FlashError("key-store", error.sentence, error.remedy) from error
    try:
        address = order.address or config.get("address") or free_address(keys, _kept(settings.directory))

        def known(chip: Chip) -> None:
            try:
                with _ledger(settings.directory) as ledger:
                    if ledger is not None:
                        ledger.alone(chip.mac, address, replace=order.replace)
            except FelinarError as error:
                code = "ledger" if told(error)["code"] == "ledger" else "address-taken"
                raise FlashError(code, error.sentence, error.remedy) from error

        return steps.provision(
            port, order.board, {**config, "address": address}, keys, loaded, screen.step,
            on_chip=known, replace=order.replace, speeds=(order.baud, *speeds) if order.baud else speeds, test=order.test, lamp=order.lamp,
        )  # fmt: skip
    finally:
        keys.close()


@contextmanager
def _ledger(folder: Path) -> Iterator[Ledger | None]:
    """The ledger of batches, where there is one."""
    from felinar.provision.ledger import FILE, Ledger

    if not (folder / FILE).exists():
        yield None
        return
    ledger = Ledger(folder / FILE)
    try:
        yield ledger
    finally:
        ledger.close()


def _kept(folder: Path) -> set[int]:
    """Addresses that the ledger has given, or keeps for poles that wait."""
    with _ledger(folder) as ledger:
        return {record.address for record in ledger.records()} if ledger is not None else set()


def free_address(keys: KeyStore, kept: Collection[int] = ()) -> int:
    """The address above all that have a key, wait for one, or are `kept`. Raises FlashError: config, when there is none."""
    taken = {*keys.nodes(), *(address for address, _ in keys.pending()), *kept}
    address = max((address for address in taken if address <= NODE_MAX), default=NODE_MIN - 1) + 1
    if address > NODE_MAX:
        raise FlashError("config", "The highest address is taken.", "Name a free one with --address.")
    return address


def _node_config(order: Order) -> dict[str, Any]:
    config: dict[str, Any] = {}
    if order.node_config is not None:
        try:
            config = json_.loads(order.node_config.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise FlashError("config", f"The configuration {order.node_config} can't be read: {error}.") from error
        if not isinstance(config, dict):
            raise FlashError("config", f"The configuration {order.node_config} is no object.")
    for name, value in (("name", order.name), ("lat", order.lat), ("lon", order.lon)):
        if value not in ("", None):
            config[name] = value
    return config


@contextmanager
def _screen(json: bool) -> Iterator[_Screen]:
    if json:
        yield _JsonLines()
        return
    bars = Bars(
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeElapsedColumn(),
        console=Console(stderr=True), transient=True,
    )  # fmt: skip
    with bars:
        yield _Words(bars)


def _self_test(report: steps.Report) -> dict[str, Any]:
    if report.passed:
        return {}
    return FlashError("self-test", f"The node has its key, but {', '.join(report.failed)} failed.").json()


def _show(report: steps.Report) -> None:
    console = Console()
    table = Table(box=None, show_header=False, pad_edge=False)
    for part in report.parts:
        table.add_row("ok" if part.passed else "FAILED", part.name, part.detail)
    written = report.written
    console.print(
        f"Node {report.address} on board {report.board} ({report.chip}, {report.flash_mb:g} MB, {report.mac}), "
        f"{report.firmware}",
        highlight=False, soft_wrap=True,
    )  # fmt: skip
    console.print(
        f"{written.compressed / 1000:.0f} kB written and verified in {written.seconds:.1f} s at {written.baud} baud; "
        f"its key is proven, {report.times['all']:.0f} s in all",
        highlight=False, soft_wrap=True,
    )  # fmt: skip
    console.print(table)


def list_ports(json: bool) -> None:
    """Write the ports that may have a board; nothing is opened."""
    found = ports.find()
    if json:
        sys.stdout.write(json_.dumps([msgspec.to_builtins(port) for port in found]) + "\n")
        return
    table = Table("port", "what", "id", "socket", box=None, pad_edge=False)
    for port in found:
        table.add_row(port.device, port.description, f"{port.vid or 0:04x}:{port.pid or 0:04x}", port.by_path or "")
    Console().print(table if found else "No board was found: is it plugged in, with a cable that carries data?")


def _line(what: dict[str, Any]) -> None:
    sys.stdout.write(json_.dumps(what, ensure_ascii=False) + "\n")
    sys.stdout.flush()
