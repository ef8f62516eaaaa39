"""What `felinar flash` does with one board: bars for people, a JSON object a line for programs."""

from __future__ import annotations

import json as json_
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.table import Table

from felinar.config import NODE_MAX, NODE_MIN, Config
from felinar.errors import FelinarError
from felinar.flash import bridge, ports, steps
from felinar.flash import firmware as firmwares
from felinar.flash import image as images
from felinar.flash.catalogue import FlashError, told
from felinar.flash.progress import STAGES, Progress
from felinar.flash.writer import speeds_from
from felinar.keys.interface import KeyStore, KeyStoreError
from felinar.keys.place import keys_folder, open_keys
from felinar.provision.ledger import Ledger
from felinar.provision.ledger_file import FILE
from felinar.provision.records import State

if TYPE_CHECKING:
    from felinar.flash.chip import Chip


class Order(msgspec.Struct):
    """What was asked for. `address` 0 takes the first that is free; `node_config` is a file like a node's config.json; `line` is
    "wired", "radio", or empty: as the board file says."""

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
    line: str = ""
    role: str = "lamp"


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
    report: steps.Report | bridge.Report | None = None
    with _screen(order.json) as screen:
        try:
            report = _bridge(settings, order, screen) if order.role == "bridge" else _flash(settings, order, screen)
        except KeyboardInterrupt:
            failed = FlashError("interrupted")
        except FelinarError as problem:
            failed = problem
    if failed is not None:
        if not order.json:
            raise failed
        _line({"event": "failed", **told(failed)})
        return failed.exit_status
    assert report is not None
    if isinstance(report, bridge.Report):
        if order.json:
            _line({"event": "done", **report.json()})
        else:
            _show_bridge(report)
        return 0
    failure = report.failure
    if order.json:
        _line({"event": "failed" if failure else "done", **report.json(), **(failure.json() if failure else {})})
    else:
        _show(report)
        if failure is not None:
            raise failure
    return 1 if failure else 0


class _Entry:
    """The ledger's row of one board without a pole: unfinished from before the first byte is written until all has passed."""

    def __init__(self, ledger: Ledger, order: Order, port: str) -> None:
        self._ledger = ledger
        self._order = order
        self._port = port
        self._mac = ""

    def begin(self, chip: Chip, address: int, line: str, name: str = "") -> int | None:
        """The board is known, and is to be this node (0: a bridge). The address that it has from an attempt that was not finished, where
        none is asked for or the same. Raises FlashError: address-taken, ledger."""
        order = self._order
        with _books():
            old = self._ledger.loose_of(chip.mac)
            own = None
            if old is not None and order.role == old.role == "lamp" and old.state is not State.READY:
                own = old.address if order.address in (0, old.address) else None
            address = own or address
            self._ledger.alone(chip.mac, address, replace=order.replace)
            self._ledger.begin(
                chip.mac, order.role, line, order.board, address=address, name=name, port=self._port
            )  # fmt: skip
        self._mac = chip.mac
        return own

    def step(self, state: State) -> None:
        with _books():
            self._ledger.step(self._mac, state)

    def failed(self, error: FelinarError) -> None:
        """Best effort: what the row says already is no success either."""
        if self._mac:
            with suppress(FelinarError):
                self._ledger.step(self._mac, State.FAILED, told(error)["code"], error.sentence)


@contextmanager
def _books() -> Iterator[None]:
    try:
        yield
    except FelinarError as error:
        code = "ledger" if told(error)["code"] == "ledger" else "address-taken"
        raise FlashError(code, error.sentence, error.remedy) from error


@contextmanager
def _entry(ledger: Ledger, order: Order, port: str) -> Iterator[_Entry]:
    entry = _Entry(ledger, order, port)
    try:
        yield entry
    except FelinarError as error:
        entry.failed(error)
        raise
    except KeyboardInterrupt:
        entry.failed(FlashError("interrupted"))
        raise


def _bridge(settings: Config, order: Order, screen: _Screen) -> bridge.Report:
    board = images.board(order.board)
    images.with_radio(board, "be a bridge")
    port = ports.named(order.port) if order.port else ports.only()
    loaded = firmwares.load(order.firmware or firmwares.Cache().find(board, screen.say))
    with _ledger(settings.directory, create=True) as ledger:
        assert ledger is not None
        with _entry(ledger, order, ports.lasting(port)) as entry:

            def known(chip: Chip) -> None:
                entry.begin(chip, 0, "")

            report = bridge.flash(
                port, order.board, loaded, screen.step,
                speeds=speeds_from(order.baud), on_chip=known, on_written=lambda: entry.step(State.WRITTEN),
            )  # fmt: skip
            entry.step(State.READY)
    return report


def _flash(settings: Config, order: Order, screen: _Screen) -> steps.Report:
    board = images.board(order.board)
    port = ports.named(order.port) if order.port else ports.only()
    line = images.line_of(board, order.line)
    config = _node_config(order)
    loaded = firmwares.load(order.firmware or firmwares.Cache().find(board, screen.say))
    try:
        keys = open_keys(keys_folder(settings), create=True)
    except KeyStoreError as error:
        raise FlashError("key-store", error.sentence, error.remedy) from error
    try:
        with _ledger(settings.directory, create=True) as ledger:
            assert ledger is not None
            address = order.address or config.get("address") or free_address(keys, _kept(ledger))
            with _entry(ledger, order, port.device) as entry:

                def known(chip: Chip) -> int | None:
                    return entry.begin(chip, address, line, str(config.get("name", "")))

                def step(progress: Progress) -> None:
                    if progress.stage == "boot":
                        entry.step(State.WRITTEN)
                    screen.step(progress)

                report = steps.provision(
                    port, order.board, {**config, "address": address}, keys, loaded, step,
                    on_chip=known, on_proven=lambda _: entry.step(State.PROVEN), replace=order.replace, speeds=speeds_from(order.baud),
                    test=order.test, lamp=order.lamp, line=line,
                )  # fmt: skip
                if report.failure is not None:
                    entry.failed(report.failure)
                else:
                    entry.step(State.READY)
        return report
    finally:
        keys.close()


@contextmanager
def _ledger(folder: Path, *, create: bool = False) -> Iterator[Ledger | None]:
    """The ledger, where there is one or it is to be made. Raises FlashError: ledger."""
    if not create and not (folder / FILE).exists():
        yield None
        return
    with _books():
        ledger = Ledger(folder / FILE)
    try:
        yield ledger
    finally:
        ledger.close()


def _kept(ledger: Ledger) -> set[int]:
    """Addresses that the ledger has given, or keeps for poles that wait."""
    return {record.address for record in ledger.records()} | {loose.address for loose in ledger.loose()}


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


def _show(report: steps.Report) -> None:
    console = Console()
    table = Table(box=None, show_header=False, pad_edge=False)
    for part in report.parts:
        table.add_row("ok" if part.passed else "FAILED", part.name, part.detail)
    written = report.written
    console.print(
        f"Node {report.address} ({report.line}) on board {report.board} ({report.chip}, {report.flash_mb:g} MB, {report.mac}), "
        f"{report.firmware}",
        highlight=False, soft_wrap=True,
    )  # fmt: skip
    console.print(
        f"{written.compressed / 1000:.0f} kB written and verified in {written.seconds:.1f} s at {written.baud} baud; "
        f"its key is proven, {report.times['all']:.0f} s in all",
        highlight=False, soft_wrap=True,
    )  # fmt: skip
    console.print(table)
    if report.running:
        console.print(f"Switched over to its radio: {report.running}", highlight=False, soft_wrap=True)


def _show_bridge(report: bridge.Report) -> None:
    console = Console()
    heard, written = report.heard, report.written
    radio = next(part.detail for part in report.parts if part.name == "radio")
    for line in (
        f"Bridge on board {report.board} ({report.chip}, {report.flash_mb:g} MB, {report.mac}), {report.firmware}",
        f"{written.compressed / 1000:.0f} kB written and verified in {written.seconds:.1f} s at {written.baud} baud; "
        f"{report.times['all']:.0f} s in all",
        f"ok  radio  {radio}",
        f"ok  hello  version {heard.version}, {heard.chip}, {heard.dbm} dBm at most; answers in {heard.round_trip_ms:g} ms",
        "",
        "For felinar.toml:",
        "",
        report.entry.rstrip(),
    ):
        console.print(line, highlight=False, soft_wrap=True, markup=False)


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
