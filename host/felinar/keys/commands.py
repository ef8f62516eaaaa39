"""`felinar keys`: what keys there are, to and from other machines, new ones, and taking one out of use. Shows none, ever."""

from __future__ import annotations

import hmac
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from felinar import config as configuration
from felinar.keys.interface import KeyStoreError
from felinar.options import AsJson, ConfigFile, DataDir

if TYPE_CHECKING:
    from felinar.keys.sqlite import SqliteKeyStore
    from felinar.provision.ledger import Ledger
    from felinar.provision.records import Record

app = typer.Typer(
    help="Keys of nodes: list them, carry them between machines, renew and revoke them. No command shows a key.",
    no_args_is_help=True,
)

Node = Annotated[str, typer.Argument(metavar="NODE", help="Its number, or its pole.")]
Passphrase = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Read the passphrase from the first line of a file, instead of asking for it."),
]


class _Books:
    """The key store and, where there is one, the ledger."""

    def __init__(self, folder: Path, keys: SqliteKeyStore, ledger: Ledger | None) -> None:
        self.folder = folder
        self.keys = keys
        self.ledger = ledger

    def node(self, text: str) -> int:
        """The address that somebody names, by number or by pole."""
        if text.isdigit() and int(text) <= 0xFFFF:
            return int(text)
        if self.ledger is None:
            raise KeyStoreError(f"'{text}' is no node's number, and there is no ledger here that knows poles.")
        return self.ledger.find(text).address

    def records(self) -> dict[int, Record]:
        return {record.address: record for record in self.ledger.records()} if self.ledger else {}


@contextmanager
def _opened(
    config: Path | None, data_dir: Path | None, *, create: bool = False, look: bool = False
) -> Iterator[_Books]:
    """`look`: nothing is changed, so it may be beside whoever works."""
    from felinar.keys.place import keys_folder, open_keys
    from felinar.provision.books import Books
    from felinar.provision.ledger import Ledger
    from felinar.provision.ledger_file import FILE

    settings = configuration.load(config, data_dir=data_dir)
    folder = settings.directory
    keys = open_keys(keys_folder(settings), create=create, role="read" if look else "keys")
    ledger = None
    try:
        if create or (folder / FILE).exists():
            ledger = Ledger(folder / FILE)
            if not look:
                Books(ledger, keys)  # puts right what a kill left half done
        yield _Books(folder, keys, ledger)
    finally:
        if ledger is not None:
            ledger.close()
        keys.close()


def check_value(key: bytes) -> str:
    """Eight digits by which two people can tell whether they have the same key; they tell nothing else about it."""
    return hmac.digest(key, b"felinar key check", "sha256")[:4].hex()


def _rows(books: _Books, only: int | None = None) -> list[dict[str, object]]:
    from felinar.keys import rekey

    records = books.records()
    keys = books.keys
    found: list[dict[str, object]] = []

    def add(address: int, state: str, key: bytes, holder: str) -> None:
        record = records.get(address)
        found.append(
            {
                "node": address,
                "state": state,
                "check": check_value(key),
                "pole": record.entry.pole if record else None,
                "name": record.entry.name if record else None,
                "board": _board(holder or (record.mac if record else None)),
                "ledger": str(record.state) if record else None,
                "joins": keys.last_join(address) if state == "active" else None,
                "session": keys.session(address) is not None if state == "active" else None,
                "step": str(rekey.step(keys, address)) if holder == rekey.HOLDER else None,
            }
        )

    for address in keys.nodes():
        key = keys.root(address)
        if key is not None and only in (None, address):
            add(address, "active", key, "")
    for address, holder in keys.pending():
        key = keys.pending_key(address, holder)
        if key is not None and only in (None, address):
            add(address, "pending", key, holder)
    return sorted(found, key=lambda row: (int(str(row["node"])), str(row["state"])))


@app.command("list", epilog="Examples:  felinar keys list   |   felinar keys list --json")
def list_(config: ConfigFile = None, data_dir: DataDir = None, json: AsJson = False) -> None:
    """List the nodes that have a key. Pending: it may be on a board that has not proved it yet.

    Of a key that goes over the air it tells the step: ordered, sent, or applied: in force once the node has joined.
    """
    with _opened(config, data_dir, look=True) as books:
        rows = _rows(books)
    if json:
        _write_json(rows)
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, header_style="bold")
    for column in ("node", "pole", "name", "key", "check", "board"):
        table.add_column(column, no_wrap=True)
    for row in rows:
        shown = {**row, "state": _state(row)}
        table.add_row(*(str(shown[c] or "") for c in ("node", "pole", "name", "state", "check", "board")))
    console = Console()
    (console if console.is_terminal else Console(width=140)).print(table)


def _state(row: dict[str, object]) -> str:
    return f"{row['state']} ({row['step']})" if row["step"] else str(row["state"])


@app.command("zones", epilog="Examples:  felinar keys zones   |   felinar keys zones --json")
def zones_(config: ConfigFile = None, data_dir: DataDir = None, json: AsJson = False) -> None:
    """List the groups of plans with their addresses, and how many of their nodes have said to have the group's key."""
    from felinar.keys.zones import of_records

    with _opened(config, data_dir, look=True) as books:
        names = books.keys.zone_names()
        members = of_records(books.records().values(), names.get)
        rows = [_zone_row(books, zone, names, members) for zone in _zones_of(books, names, members)]
    if json:
        _write_json(rows)
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, header_style="bold")
    for column in ("zone", "group", "nodes", "have its key"):
        table.add_column(column, no_wrap=True)
    for row in rows:
        nodes, missing = row["nodes"], row["missing"]
        assert isinstance(nodes, list)
        assert isinstance(missing, list)
        table.add_row(str(row["zone"]), str(row["group"] or ""), str(len(nodes)), str(len(nodes) - len(missing)))
    console = Console()
    (console if console.is_terminal else Console(width=140)).print(table)


def _zones_of(books: _Books, names: Mapping[str, int], members: Mapping[int, frozenset[int]]) -> list[int]:
    return sorted({*books.keys.zones(), *names.values(), *(zone for mine in members.values() for zone in mine)})


def _zone_row(
    books: _Books, zone: int, names: Mapping[str, int], members: Mapping[int, frozenset[int]]
) -> dict[str, object]:
    from felinar.keys.rekey import mark

    have = books.keys.zoned()
    present = mark(books.keys.zone_key(zone)) if zone in books.keys.zones() else None
    nodes = sorted(address for address, mine in members.items() if zone in mine)
    missing = [address for address in nodes if present is None or have.get((address, zone)) != present]
    group = next((name for name, address in names.items() if address == zone), None)
    return {"zone": zone, "group": group, "nodes": nodes, "missing": missing}


def _zone(books: _Books, text: str) -> int:
    """The group address that somebody names, by number or as the plan does."""
    from felinar.keys.zones import LAST, zone_of

    groups = {record.entry.group.strip().casefold() for record in books.records().values()}
    names = books.keys.zone_names()
    known = text.strip().casefold() in groups | names.keys()
    zone = zone_of(text, books.keys.name_zone if known else names.get)
    if zone is None:
        raise KeyStoreError(
            f"'{text}' is no group: neither a plan's, nor a number from 1 to {LAST}.",
            "`felinar keys zones` lists them.",
        )
    return zone


@app.command(epilog="Examples:  felinar keys show 42   |   felinar keys show B-0042")
def show(node: Node, config: ConfigFile = None, data_dir: DataDir = None, json: AsJson = False) -> None:
    """Show what is known of a node's keys, and its history, but not the keys."""
    from felinar.clock import iso

    with _opened(config, data_dir, look=True) as books:
        address = books.node(node)
        rows = _rows(books, address)
        past = books.ledger.history(address) if books.ledger else []
    if not rows and not past:
        raise KeyStoreError(f"Nothing is known of node {address}.", "`felinar keys list` lists those that have a key.")
    events = [
        {"time": iso(each.time), "event": each.event, "board": _board(each.mac), "detail": each.detail} for each in past
    ]  # fmt: skip
    if json:
        _write_json({"node": address, "keys": rows, "history": events})
        return
    for row in rows:
        session = {True: ", in session", False: ", no session", None: ""}[row["session"]]  # type: ignore[index]
        joins = f", join counter {row['joins']}" if row["joins"] is not None else f" for {row['board']}"
        typer.echo(f"node {address}: key {row['check']} is {_state(row)}{joins}{session}")
    if not rows:
        typer.echo(f"node {address}: no key")
    for each in events:
        typer.echo(f"  {each['time']}  {each['event']}  {each['board'] or ''}  {each['detail']}".rstrip())


@app.command(
    "export", epilog="Examples:  felinar keys export to-the-host.keys   |   felinar keys export one.keys 42 43"
)
def export(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A new file; it is sealed under a passphrase.")],
    node: Annotated[list[str] | None, typer.Argument(metavar="[NODE]...", help="Only these; else all.")] = None,
    passphrase_file: Passphrase = None,
    config: ConfigFile = None,
    data_dir: DataDir = None,
) -> None:
    """Write keys, with their place in the ledger, into a sealed file for another machine."""
    import msgspec

    from felinar.keys import carry

    with _opened(config, data_dir) as books:
        nodes = None if not node else {books.node(each) for each in node}
        told = [r for a, r in books.records().items() if r.mac and (nodes is None or a in nodes)]
        parcel = carry.pack(books.keys, nodes, ledger=msgspec.msgpack.encode(told))
        if file.exists():
            raise KeyStoreError(f"{file} exists.", "Name another file: an export never overwrites one.")
        carry.write(file, carry.seal(parcel, _passphrase(passphrase_file, twice=True)))
        if books.ledger is not None:
            for active in parcel.active:
                books.ledger.note(active.address, "exported", file.name)
    typer.echo(f"{file}: {_counted(len(parcel.active), len(parcel.waiting), len(parcel.zones))}.")


@app.command("import", epilog="Examples:  felinar keys import to-the-host.keys")
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `felinar keys export` wrote.")],
    replace: Annotated[bool, typer.Option("--replace", help="The file's keys win over others that are here.")] = False,
    passphrase_file: Passphrase = None,
    config: ConfigFile = None,
    data_dir: DataDir = None,
) -> None:
    """Take over the keys of a sealed file. One that differs from one that is here is refused, and with it all."""
    import msgspec

    from felinar.keys import carry
    from felinar.provision.records import Record

    content = carry.read(file)
    with _opened(config, data_dir, create=True) as books:
        assert books.ledger is not None
        parcel = carry.unseal(content, _passphrase(passphrase_file))
        try:
            records = msgspec.msgpack.decode(parcel.ledger or b"\x90", type=list[Record])
        except msgspec.MsgspecError as error:
            raise KeyStoreError("The file's part of the ledger can't be read.") from error
        if not replace:
            carry.unpack(books.keys, parcel, dry=True)
        new = books.ledger.adopt(records)
        taken = carry.unpack(books.keys, parcel, replace=replace)
        for address in (*taken.new, *taken.replaced):
            books.ledger.note(address, "imported", file.name)
    typer.echo(
        f"{len(taken.new)} keys new, {len(taken.same)} known, {len(taken.replaced)} replaced, {len(parcel.waiting)} pending; "
        f"{len(new)} poles new in the ledger. Now, on the machine that they came from: felinar keys forget {file.name}"
    )


@app.command(epilog="Examples:  felinar keys forget to-the-host.keys")
def forget(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file that another machine has imported.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
    passphrase_file: Passphrase = None,
    config: ConfigFile = None,
    data_dir: DataDir = None,
) -> None:
    """Remove from this machine the keys that are in a file which another one has imported: a laptop needs them no more.

    The ledger keeps who has which identity. Keys that differ from the file's, and pending ones, stay.
    """
    from felinar.keys import carry

    content = carry.read(file)
    with _opened(config, data_dir) as books:
        parcel = carry.unseal(content, _passphrase(passphrase_file))
        same = [each.address for each in parcel.active if books.keys.root(each.address) == each.root]
        if not same:
            raise KeyStoreError(f"No key of {file} is in force here: nothing was removed.")
        if not yes and not typer.confirm(f"Has the other machine imported {file}? {len(same)} keys are removed here."):
            raise typer.Exit(1)
        waiting = {address for address, _ in books.keys.pending()}
        left = [address for address in same if address in waiting]
        for address in same:
            if address not in waiting:
                books.keys.remove(address)
                if books.ledger is not None:
                    books.ledger.note(address, "handed over", file.name)
    typer.echo(f"{len(same) - len(left)} keys removed here. Delete {file} wherever it is.")
    if left:
        typer.echo(f"Kept, as a newer key of theirs waits for its proof: node {', '.join(map(str, left))}.")


@app.command(epilog="Examples:  felinar keys rotate 42   |   felinar keys rotate --zone centru")
def rotate(
    node: Annotated[str | None, typer.Argument(metavar="[NODE]", help="Its number, or its pole.")] = None,
    zone: Annotated[
        str | None, typer.Option(metavar="GROUP", help="A group, by address or name: its key, not a node's.")
    ] = None,
    config: ConfigFile = None,
    data_dir: DataDir = None,
) -> None:
    """Order a new key: it is sent sealed, and in force once the node has joined with it. Never sent in clear."""
    from felinar.keys import rekey

    if (node is None) == (zone is None):
        raise KeyStoreError("Name a node, or a zone with --zone.")
    with _opened(config, data_dir) as books:
        if zone is not None:
            number = _zone(books, zone)
            books.keys.rotate_zone(number)
            typer.echo(f"Zone {number} has a new key; the daemon sends it to each of its nodes (felinar keys zones).")
            return
        address = books.node(str(node))
        rekey.order(books.keys, address)
        if books.ledger is not None:
            books.ledger.note(address, "rotation ordered")
        typer.echo(
            f"A new key waits for node {address}. It goes out on a sealed line only; both are good until the node joins "
            f"with the new one (felinar keys show {address})."
        )


@app.command(epilog="Examples:  felinar keys revoke B-0042 --why stolen --zone 32769")
def revoke(
    node: Annotated[list[str], typer.Argument(metavar="NODE...", help="Their numbers, or their poles.")],
    why: Annotated[str, typer.Option(help="Kept in the ledger.")] = "",
    zone: Annotated[
        list[str] | None, typer.Option(metavar="GROUP", help="Give this group a new key too. Repeatable.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
    config: ConfigFile = None,
    data_dir: DataDir = None,
) -> None:
    """Take a node's keys out of use for good: nothing it sends is believed, and its session has ended."""
    with _opened(config, data_dir) as books:
        addresses = list(dict.fromkeys(books.node(each) for each in node))
        records = books.records()
        known = {*books.keys.nodes(), *(address for address, _ in books.keys.pending())}
        for address in addresses:
            if address not in known and (address not in records or records[address].mac is None):
                raise KeyStoreError(f"Node {address} has no key.", "`felinar keys list` lists those that have one.")
        zones = [_zone(books, each) for each in zone or ()]
        names = ", ".join(f"{a} ({records[a].entry.pole})" if a in records else str(a) for a in addresses)
        if not yes and not typer.confirm(f"Revoke the keys of node {names}? Only flashing gives a board a new one."):
            raise typer.Exit(1)
        for address in addresses:
            books.keys.remove(address)
            if books.ledger is not None:
                books.ledger.revoke(address, why)
        for each in zones:
            books.keys.rotate_zone(each)
    typer.echo(f"Revoked: node {names}." + (f" New key: zone {', '.join(map(str, zones))}." if zones else ""))


def _board(holder: str | None) -> str | None:
    """A board as people write it: its MAC; how else a key travels as it is."""
    from felinar.provision.records import shown_mac

    return shown_mac(holder) if holder and len(holder) == 12 else holder


def _counted(active: int, waiting: int, zones: int) -> str:
    return f"{active} keys, {waiting} pending ones, {zones} of zones"


def _passphrase(file: Path | None, *, twice: bool = False) -> str:
    if file is None:
        if not sys.stdin.isatty():
            raise KeyStoreError(
                "There is no terminal to ask for the passphrase.", "Name a file: --passphrase-file FILE."
            )
        asked: str = typer.prompt("Passphrase", hide_input=True, confirmation_prompt=twice)
        return asked
    try:
        lines: Sequence[str] = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise KeyStoreError(f"The passphrase can't be read from {file}: {error}.") from error
    return lines[0] if lines else ""


def _write_json(what: object) -> None:
    import msgspec

    sys.stdout.write(msgspec.json.format(msgspec.json.encode(what), indent=1).decode() + "\n")
