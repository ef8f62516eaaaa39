"""What `felinar backup` and `felinar restore` do."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from felinar.care import backup as backups
from felinar.care import configure
from felinar.care.backup import Kept
from felinar.care.errors import CareError
from felinar.care.line import CareLine
from felinar.care.node import Node, Who
from felinar.clock import iso
from felinar.flash.prove import BAUD

_PLAUSIBLE = 1_767_225_600  # 2026-01-01: a host whose clock says less gives no node the time, which a trial waits for


def backup(port: str, file: Path, *, force: bool = False, baud: int = BAUD) -> Kept:
    """Write a node's configuration into a file ("-": to the screen). Raises CareError."""
    from felinar.daemon import installed_version

    screen = str(file) == "-"
    if not screen and file.exists() and not force:
        raise CareError(f"{file} exists.", "Name another file, or say --force.")
    with CareLine(port, baud) as line:
        node = Node(line)
        who = node.meet()
        config = configure.get(node)
        drivers = configure.fitted(node)
    if not config.value:
        raise CareError(
            f"Node {who.address} has no configuration that could be read: it runs with defaults.",
            "Write one with felinar restore, or flash it anew.",
        )
    kept = Kept(
        backups.LAMP_NODE, who.address, who.uid, who.firmware, who.schema, installed_version(), iso(time.time()), drivers,
        config.value,
    )  # fmt: skip
    text = backups.write(kept)
    if screen:
        sys.stdout.write(text)
    else:
        _save(file, text)
    return kept


def _save(file: Path, text: str) -> None:
    fresh = file.with_name(f"{file.name}.new")
    try:
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(file)
    except OSError as error:
        raise CareError(
            f"{file} can't be written: {(error.strerror or str(error)).lower()}.", "Name another."
        ) from error


def load(file: Path, *, changed: bool = False) -> Kept:
    """A backup from its file. Raises CareError."""
    try:
        with file.open("rb") as source:
            data = source.read(backups.MOST + 1)
    except OSError as error:
        raise CareError(
            f"{file} can't be read: {(error.strerror or str(error)).lower()}.", "Is its name right?"
        ) from error
    if len(data) > backups.MOST:
        raise CareError(f"{file} is no backup of a node: it is far too long.", "Name a file that felinar backup wrote.")
    return (backups.read_changed if changed else backups.read)(data, str(file))


def suits(kept: Kept, who: Who, *, other_board: bool) -> dict[str, object]:
    """The configuration that a node may get from a backup; its address stays the node's own. Raises CareError.

    Identity and key are the board's: a backup of another board gives it all but those, and only on request.
    """
    if kept.role != backups.LAMP_NODE:
        raise CareError(
            f"The backup is of a {kept.role}, and a {backups.LAMP_NODE} is at the line.",
            "Take the backup of this board.",
        )
    if (kept.uid, kept.address) != (who.uid, who.address) and not other_board:
        raise CareError(
            f"The backup is of {kept.name} on board {kept.uid}, and at the line is node {who.address} on board {who.uid}.",
            f"Plug in the other one. To give this one the same settings, and keep it node {who.address}: --other-board",
        )
    if kept.schema > who.schema:
        raise CareError(
            f"The backup was made of a newer firmware (schema {kept.schema}) than the node has ({who.schema}).",
            "Update the node first: flash it.",
        )
    return {**kept.config, "address": who.address}


def restore(
    port: str, file: Path, *, dry_run: bool = False, other_board: bool = False, changed: bool = False, yes: bool = False,
    json: bool = False, baud: int = BAUD,
) -> bool:  # fmt: skip
    """Give a node the configuration of a backup; whether anything was (or would be) changed. Raises CareError."""
    kept = load(file, changed=changed)
    if not dry_run and time.time() < _PLAUSIBLE:
        raise CareError(
            "The clock of this computer is not set, and the node keeps a configuration only once it has got the time.",
            "Set the clock: see felinar doctor.",
        )
    screen = Console(stderr=True, highlight=False)
    with CareLine(port, baud) as line, screen.status("asks who is there") as status:
        node = Node(line)
        who = node.meet()
        value = suits(kept, who, other_board=other_board)
        now = configure.get(node)
        if now.trial:
            raise CareError(
                f"Node {who.address} is trying another configuration at this moment.", "Try again in some seconds."
            )
        differs = backups.changes(now.value, value)
        status.stop()
        if not json:
            _show(kept, who, differs)
        if not differs or dry_run:
            if json:
                _tell(kept, who, differs, restored=False)
            return bool(differs)
        if not yes and not json and not _agreed():
            raise CareError("Nothing was changed.")
        status.start()
        configure.put(
            line, node, who, value,
            lambda part, whole: status.update(f"sends it: {part} of {whole} bytes"), lambda text: status.update(text),
        )  # fmt: skip
    if json:
        _tell(kept, who, differs, restored=True)
    else:
        sys.stdout.write(f"Node {who.address} has started with it and keeps it.\n")
    return True


def _agreed() -> bool:
    if not sys.stdin.isatty():
        raise CareError("There is no terminal to ask whether to go on.", "Say --yes, or --dry-run only to look.")
    sys.stderr.write("Restore it? The node restarts, its lamp may blink. [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _show(kept: Kept, who: Who, differs: list[tuple[str, str, str]]) -> None:
    console = Console(highlight=False)
    console.print(
        f"Backup of {kept.name}, board {kept.uid}, firmware {kept.firmware}, made {kept.made}", soft_wrap=True
    )
    console.print(f"At the line: node {who.address}, board {who.uid}, firmware {who.firmware}", soft_wrap=True)
    if not differs:
        console.print("The node has this configuration already: nothing to change.")
        return
    table = Table("key", "the node has", "the backup has", box=None, pad_edge=False, header_style="bold")
    for row in differs:
        table.add_row(*row)
    (console if console.is_terminal else Console(width=140, highlight=False)).print(table, markup=False)


def _tell(kept: Kept, who: Who, differs: list[tuple[str, str, str]], *, restored: bool) -> None:
    told = {
        "node": who.address, "uid": who.uid, "made": kept.made, "restored": restored,
        "changes": [{"key": key, "now": now, "backup": then} for key, now, then in differs],
    }  # fmt: skip
    sys.stdout.write(msgspec.json.encode(told).decode() + "\n")
