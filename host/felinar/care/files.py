"""What `felinar ls|cat|cp|rm` do with a board's files, and which of them are not touched without being asked twice."""

from __future__ import annotations

import posixpath
import sys
from pathlib import Path

import msgspec
from rich.console import Console
from rich.status import Status

from felinar.care.errors import CareError
from felinar.care.prompt import Board, at_prompt
from felinar.flash.prove import BAUD

_STARTS = ("main.py", "boot.py", "main.mpy", "boot.mpy", "board.json")
_CODE = ("node", "drivers", "felinar_wire", "felinar_air", "bridge")


def place(text: str) -> str:
    """An absolute path of the board from what somebody wrote: `:x`, `/x`, `x`, `:`. Raises CareError for one that leaves it."""
    path = posixpath.normpath("/" + text.removeprefix(":").lstrip("/"))
    if ".." in text.split("/"):
        raise CareError(f"'{text}' is no plain path.", "Write it without '..'.")
    return path


def secret(path: str) -> bool:
    """Whether a file's name says that it holds what is not to be shown. A node's keys are in NVS, not among its files."""
    name = posixpath.basename(path).lower()
    return name.startswith(("secret", "key", "password", "webrepl_cfg")) or name.endswith((".key", ".pem", ".token"))


def vital(path: str) -> str:
    """What breaks when this file is another one or gone, "" when nothing does."""
    parts = path.strip("/").split("/")
    if path.strip("/") in _STARTS:
        return "without a sound one the node does not start"
    if parts[0] in _CODE:
        return "it belongs to the application, which flashing writes as a whole"
    if path.strip("/") == "config.json":
        return "it is tried before it is kept when it comes by felinar restore"
    return ""


def guard(path: str, *, force: bool) -> None:
    """Raises CareError for a change to a file that a node needs, unless `force`."""
    why = vital(path)
    if why and not force:
        raise CareError(f"{path} is not changed just so: {why}.", "Say --force if you know what you do.")


def _unsecret(path: str) -> None:
    if secret(path):
        raise CareError(f"{path} may hold a secret, and is not shown or taken from the board.")


def ls(port: str, path: str, *, json: bool, baud: int = BAUD) -> None:
    """List a folder of the board."""
    where = place(path)
    with _working("stops the node and reads"), at_prompt(port, baud) as board:
        entries = board.list(where)
    if json:
        sys.stdout.write(msgspec.json.encode([entry._asdict() for entry in entries]).decode() + "\n")
        return
    for entry in entries:
        sys.stdout.write(f"{'' if entry.folder else entry.size:>10} {entry.name}{'/' if entry.folder else ''}\n")


def cat(port: str, path: str, *, baud: int = BAUD) -> None:
    """Write a file of the board to the screen."""
    where = place(path)
    _unsecret(where)
    with _working("stops the node and reads"), at_prompt(port, baud) as board:
        data = board.read(where)
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def rm(port: str, path: str, *, force: bool, baud: int = BAUD) -> None:
    """Remove a file or an empty folder of the board."""
    where = place(path)
    if where == "/":
        raise CareError("The whole file system is not removed.", "Flash the board: that writes it anew.")
    guard(where, force=force)
    with _working("stops the node and removes"), at_prompt(port, baud) as board:
        board.remove(where)
    sys.stdout.write(f"{where} is removed; the node starts again.\n")


def cp(port: str, source: str, target: str, *, force: bool, baud: int = BAUD) -> None:
    """Copy one file to the board (target begins with a colon) or from it (source does)."""
    if source.startswith(":") == target.startswith(":"):
        raise CareError(
            "One of the two is on the board, and begins with a colon.",
            "To the board: felinar cp PORT notes.txt :notes.txt. From it: felinar cp PORT :notes.txt .",
        )
    if target.startswith(":"):
        _to(port, Path(source), place(target), target.endswith(("/", ":")), force=force, baud=baud)
    else:
        _from(port, place(source), Path(target), force=force, baud=baud)


def _to(port: str, source: Path, target: str, into: bool, *, force: bool, baud: int) -> None:
    try:
        data = source.read_bytes()
    except OSError as error:
        raise CareError(f"{source} can't be read: {(error.strerror or str(error)).lower()}.", "Name a file.") from error
    if into:
        target = posixpath.join(target, source.name)
    guard(target, force=force)
    with _working("stops the node") as status, at_prompt(port, baud) as board:
        if board.is_folder(target):
            target = posixpath.join(target, source.name)
            guard(target, force=force)
        if board.exists(target) and not force:
            raise CareError(f"{target} exists on the board already.", "Say --force to replace it.")
        _parents(board, target)
        board.write(target, data, lambda part, whole: status.update(f"writes: {part} of {whole} bytes"))
    sys.stdout.write(f"{source} is {target} on the board now ({len(data)} bytes, verified); the node starts again.\n")


def _parents(board: Board, target: str) -> None:
    folder = posixpath.dirname(target)
    if not board.is_folder(folder):
        raise CareError(f"There is no folder {folder} on the board.", "felinar ls PORT lists what there is.")


def _from(port: str, source: str, target: Path, *, force: bool, baud: int) -> None:
    _unsecret(source)
    if target.is_dir():
        target = target / posixpath.basename(source)
    if target.exists() and not force:
        raise CareError(f"{target} exists.", "Name another file, or say --force.")
    with _working("stops the node") as status, at_prompt(port, baud) as board:
        data = board.read(source, lambda part, whole: status.update(f"reads: {part} of {whole} bytes"))
    try:
        target.write_bytes(data)
    except OSError as error:
        raise CareError(
            f"{target} can't be written: {(error.strerror or str(error)).lower()}.", "Name another."
        ) from error
    sys.stdout.write(f"{source} is in {target} now ({len(data)} bytes); the node starts again.\n")


def _working(text: str) -> Status:
    return Console(stderr=True, highlight=False).status(text)
