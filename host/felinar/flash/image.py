"""Makes all that a board gets: boot loader, partition table, key, MicroPython, and a file system with its application."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from felinar.config import NODE_MAX, NODE_MIN
from felinar.flash import firmware as firmwares
from felinar.flash import nvs, parts
from felinar.flash.catalogue import FlashError

if TYPE_CHECKING:
    from felinar_build.board import Board, Partition

Line = Literal["wired", "radio"]
LINES: tuple[Line, ...] = ("wired", "radio")
"""What a lamp node speaks through: its cable (or the UART of its board file), or its radio."""
Kind = Literal["wired", "radio", "bridge"]
NAMESPACE, KEY = "felinar", "key"
KEY_BYTES = 16
CONFIG_MOST = 4076
"""Bytes of a configuration that the node has room for (docs/architecture.md)."""
_BLOCK = 4096


@dataclass(frozen=True)
class Image:
    """`segments` are (offset, bytes), ascending, each a multiple of 4 bytes; everything else of the flash stays as it is.

    `last` (path and content) is a file that is put on the board once it has been proven, and makes it what it is to be: of a lamp node
    that is to speak by radio, which is written as one that speaks through its cable, its board.json; of a bridge its main.py. A bridge
    (`kind`) has neither address (0) nor key.
    """

    board: str
    chip: str
    address: int
    firmware: str
    firmware_sha256: str
    segments: tuple[tuple[int, bytes], ...] = field(repr=False)
    partitions: tuple[Partition, ...] = field(repr=False)
    key: bytes = field(repr=False)
    kind: Kind = "wired"
    last: tuple[str, bytes] = field(default=("", b""), repr=False)

    @property
    def size(self) -> int:
        """Bytes that are written, before compression."""
        return sum(len(data) for _, data in self.segments)

    @property
    def sha256(self) -> str:
        """Of offsets and bytes: two boards with one identity and key have the same."""
        digest = hashlib.sha256()
        for at, data in self.segments:
            digest.update(at.to_bytes(4, "little") + len(data).to_bytes(4, "little") + data)
        return digest.hexdigest()


def _file_of(board_id: str) -> Path:
    from felinar_build import board as boards
    from felinar_build.modules import ROOT

    return Path(board_id) if board_id.endswith(".toml") else boards.find(ROOT / "boards", board_id)


def board_ids() -> list[str]:
    """The ids of the board files that Felinar has, sorted."""
    from felinar_build.modules import ROOT

    return sorted(path.parent.name for path in (ROOT / "boards").glob("*/board.toml"))


def board(board_id: str) -> Board:
    """A board file by its id, or a file of one's own by its path (*.toml). Raises FlashError: board-unknown."""
    from felinar_build import board as boards

    try:
        return boards.load(_file_of(board_id))
    except boards.BoardError as error:
        known = ", ".join(board_ids())
        if "there is no board" in str(error):
            raise FlashError(
                "board-unknown", f"There is no board called '{board_id}'.", f"Known boards: {known}."
            ) from None
        raise FlashError("board-unknown", f"{error}.", "Correct the board file.") from error


def line_of(described: Board, line: str = "") -> Line:
    """The line of a lamp node: the one that was asked for, else that of the board file. Raises FlashError: no-radio, config."""
    if line and line not in LINES:
        raise FlashError("config", f"There is no line '{line}'.", f"A node is {' or '.join(LINES)}.")
    found: Line = "radio" if (line or described.board.line.type) == "radio" else "wired"
    if found == "radio":
        with_radio(described, "speak by radio")
    return found


def with_radio(described: Board, what: str) -> None:
    """Raises FlashError: no-radio, unless the board has one; `what` it is to do with it."""
    if described.radio is None:
        raise FlashError("no-radio", f"The board {described.board.id} has no radio, so that it can't {what}.")


def build(
    board_id: str, config: Mapping[str, Any], key: bytes, firmware: Path | firmwares.Firmware, line: str = ""
) -> Image:
    """The image of one lamp node; `config` is its /config.json, with its `address`, `key` its 16-byte root key, `line` one
    of LINES or empty: as its board file says.

    Raises FlashError: board-unknown, no-radio, config, application, does-not-fit, firmware-*.
    """
    described = board(board_id)
    if len(key) != KEY_BYTES:
        raise ValueError(f"a root key has {KEY_BYTES} bytes")
    kind = line_of(described, line)
    address = address_of(config)
    return _image(described, board_id, firmware, kind, {"config.json": _text(config)}, address, key)


def build_bridge(board_id: str, firmware: Path | firmwares.Firmware) -> Image:
    """The image of a radio bridge. Whatever key was on the board is erased.

    Raises FlashError: board-unknown, no-radio, application, does-not-fit, firmware-*.
    """
    described = board(board_id)
    with_radio(described, "be a bridge")
    return _image(described, board_id, firmware, "bridge", {}, 0, b"")


def _image(
    described: Board,
    board_id: str,
    firmware: Path | firmwares.Firmware,
    kind: Kind,
    more: Mapping[str, bytes],
    address: int,
    key: bytes,
) -> Image:
    if isinstance(firmware, Path):
        firmware = firmwares.load(firmware)
    about = described.board
    if firmware.chip != about.chip:
        raise FlashError(
            "firmware-chip", f"{firmware.name} is for an {firmware.chip}, and the board {board_id} has an {about.chip}."
        )
    places = {part.name: part for part in described.partitions}
    files = {**application(board_id, kind), **more}
    last = ("", b"")
    if kind == "bridge":
        last = "/main.py", files.pop("main.py")
    elif kind == "radio":
        last = "/board.json", _radio_json(board_id)
    system = _file_system(places["vfs"].size, files)
    boot = firmwares.sized(firmware.boot, about.flash_mb)
    _fits("the boot loader", len(boot), parts.AT - firmwares.BOOT_AT[about.chip])
    _fits(f"MicroPython ({firmware.name})", len(firmware.app), places["ota_0"].size)
    erased = ("otadata", "phy_init", "outbox", "config")
    pieces = [
        (firmwares.BOOT_AT[about.chip], boot),
        (parts.AT, parts.table(described.partitions)),
        (places["nvs"].offset, nvs.partition(places["nvs"].size, NAMESPACE, {KEY: key} if key else {})),
        *((places[name].offset, b"\xff" * places[name].size) for name in erased if name in places),
        (places["ota_0"].offset, firmware.app),
        (places["vfs"].offset, system),
    ]
    return Image(
        board=board_id,
        chip=about.chip,
        address=address,
        firmware=firmware.name,
        firmware_sha256=firmware.sha256,
        segments=joined(pieces),
        partitions=tuple(described.partitions),
        key=key,
        kind=kind,
        last=last,
    )


def joined(pieces: list[tuple[int, bytes]]) -> tuple[tuple[int, bytes], ...]:
    """Pieces in as few segments as there are gaps of a block or more: what lies between is written as erased."""
    segments: list[tuple[int, bytearray]] = []
    for at, data in sorted(pieces):
        if segments and at - (segments[-1][0] + len(segments[-1][1])) <= 8 * _BLOCK:
            last = segments[-1][1]
            last += b"\xff" * (at - segments[-1][0] - len(last)) + data
        else:
            segments.append((at, bytearray(data)))
    return tuple((at, bytes(data) + b"\xff" * (-len(data) % 4)) for at, data in segments)


def _radio_json(board_id: str) -> bytes:
    from felinar_build import board as boards

    described = board(board_id)
    described.board.line = boards.Line("radio")
    return boards.node_json(described).encode()


@lru_cache(maxsize=16)
def application(board_id: str, kind: Kind = "wired") -> Mapping[str, bytes]:
    """The application's files by their place on the node, board.json among them; made once for each board and kind.

    One for the radio can speak through the cable too, and does so until its board.json says otherwise. Raises FlashError: application.
    """
    from felinar_build import app
    from felinar_build import board as boards

    described = board(board_id)
    cable = boards.Line("console") if kind == "radio" or described.board.line.type == "radio" else None
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "app"
        try:
            written = app.build(
                _file_of(board_id),
                out,
                mpy=True,
                role="bridge" if kind == "bridge" else "lamp",
                line=cable,
                both=kind == "radio",
            )
        except app.BuildError as error:
            raise FlashError("application", f"{error}.") from error
        return {str(path.relative_to(out)): path.read_bytes() for path in written}


def address_of(config: Mapping[str, Any]) -> int:
    """The node's address in its configuration. Raises FlashError: config."""
    address = config.get("address")
    if type(address) is not int or not NODE_MIN <= address <= NODE_MAX:
        raise FlashError(
            "config", f"A node needs an address from {NODE_MIN} to {NODE_MAX}, and this one has {address!r}."
        )
    return address


def _text(config: Mapping[str, Any]) -> bytes:
    try:
        text = json.dumps(config, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise FlashError("config", f"The configuration is no JSON: {error}.") from error
    if len(text) > CONFIG_MOST:
        raise FlashError("config", f"The configuration has {len(text)} bytes, and a node has room for {CONFIG_MOST}.")
    return text


def _file_system(size: int, files: Mapping[str, bytes]) -> bytes:
    """A LittleFS of `size` bytes that MicroPython mounts, to its last block in use."""
    from littlefs import LittleFS, LittleFSError

    # The sizes of MicroPython's VfsLfs2 (extmod/vfs_lfs.c): a larger cache would keep files inline that it can't read.
    try:
        system = LittleFS(
            block_size=_BLOCK, block_count=size // _BLOCK, read_size=32, prog_size=32, cache_size=128, lookahead_size=32
        )
        for name in sorted(files):
            for parent in reversed(Path(name).parents[:-1]):
                system.makedirs(str(parent), exist_ok=True)
            with system.open(name, "wb") as file:
                file.write(files[name])
        system.unmount()
    except LittleFSError as error:
        total = sum(map(len, files.values()))
        raise FlashError(
            "does-not-fit", f"The application ({total} bytes) does not fit into {size} bytes: {error}."
        ) from error
    data = bytes(system.context.buffer)
    used = next(at for at in range(size, 0, -_BLOCK) if data[at - _BLOCK : at].count(0xFF) != _BLOCK)
    return data[:used]


def _fits(what: str, size: int, room: int) -> None:
    if size > room:
        raise FlashError("does-not-fit", f"{what[:1].upper()}{what[1:]} has {size} bytes, and its partition {room}.")
