"""MicroPython for a board: a file that was named, one of the cache, or a download that is recorded."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import platformdirs

from felinar.flash import parts
from felinar.flash.catalogue import FlashError

if TYPE_CHECKING:
    from felinar_build.board import Board

SITE = "https://micropython.org/resources/firmware"
RELEASE = "20250911-v1.26.1"
"""The version that the node was measured with (docs/architecture.md)."""
BOOT_AT = {"esp32": 0x1000, "esp32s3": 0, "esp32c3": 0, "esp32c6": 0}
"""Where the boot ROM looks for the boot loader, which is also where MicroPython's images begin (esptool targets)."""
_CHIP_IDS = {0: "esp32", 2: "esp32s2", 5: "esp32c3", 9: "esp32s3", 12: "esp32c2", 13: "esp32c6", 16: "esp32h2"}
_SIZES = {1: 0, 2: 1, 4: 2, 8: 3, 16: 4, 32: 5}
_MAGIC = 0xE9
_HEAD = 24  # bytes: header and extended header (ESP-IDF, "App Image Format")
_DESCRIPTION = 0xABCD5432
_MOST = 16 << 20


class Firmware(msgspec.Struct, frozen=True):
    """An image taken apart. `version` is what the program says of itself, empty when it says nothing."""

    name: str
    sha256: str
    chip: str
    boot: bytes
    app: bytes
    version: str = ""


def load(path: Path) -> Firmware:
    """Read an image as micropython.org gives it (boot loader, partition table, program). Raises FlashError: firmware-*."""
    try:
        if path.stat().st_size > _MOST:
            raise FlashError("firmware-unsound", f"{path} is too large to be a firmware.")
        data = path.read_bytes()
    except OSError as error:
        raise FlashError(
            "firmware-missing", f"The firmware {path} can't be read: {(error.strerror or str(error)).lower()}."
        ) from error
    chip = chip_of(data)
    if chip is None or chip not in BOOT_AT:
        what = f"is for an {chip}, which no board of ours has" if chip else "does not begin with a boot loader"
        raise FlashError("firmware-unsound", f"{path.name} {what}.")
    base = BOOT_AT[chip]
    boot = program(data)
    table = parts.read(data[parts.AT - base :][: parts.BLOCK])
    at = next((part.offset - base for part in table if part.app), -1)
    app = program(data[at:]) if at > 0 else b""
    if not boot or not app:
        why = "has no partition table" if not table else "is cut short or damaged"
        raise FlashError("firmware-unsound", f"{path.name} {why}.")
    return Firmware(path.name, hashlib.sha256(data).hexdigest(), chip, boot, app, _version(app))


def chip_of(data: bytes) -> str | None:
    """The chip of a program's image by its header, None when it has none."""
    if len(data) < _HEAD or data[0] != _MAGIC:
        return None
    return _CHIP_IDS.get(int.from_bytes(data[12:14], "little"), f"chip {data[12]}")


def program(data: bytes) -> bytes:
    """The program at the beginning of `data`, to its last byte; empty when it is not whole or its sums are wrong."""
    if len(data) < _HEAD or data[0] != _MAGIC:
        return b""
    at = _HEAD
    sum_ = 0xEF
    for _ in range(data[1]):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        for byte in _folded(data[at + 8 : at + 8 + size]):
            sum_ ^= byte
        at += 8 + size
        if at > len(data):
            return b""
    at = (at | 15) + 1
    if at > len(data) or data[at - 1] != sum_:
        return b""
    if data[23]:
        if data[at : at + 32] != hashlib.sha256(data[:at]).digest():
            return b""
        at += 32
    return data[:at]


def _folded(data: bytes) -> bytes:
    # The exclusive-or of all bytes, in big steps: eight bytes at the end.
    padded = data + bytes(-len(data) % 8)
    while len(padded) > 64:
        half = (len(padded) // 16) * 8
        left, right = padded[:half], padded[half:]
        n = max(len(left), len(right))
        padded = (int.from_bytes(left, "little") ^ int.from_bytes(right, "little")).to_bytes(n, "little")
        padded += bytes(-len(padded) % 8)
    return padded


def sized(boot: bytes, flash_mb: int) -> bytes:
    """A boot loader whose header tells this flash size, in MB, its hash made anew: it refuses partitions beyond that size."""
    patched = bytearray(boot)
    patched[3] = _SIZES[flash_mb] << 4 | patched[3] & 15
    if patched[23]:
        patched[-32:] = hashlib.sha256(patched[:-32]).digest()
    return bytes(patched)


def _version(app: bytes) -> str:
    start = _HEAD + 8
    if int.from_bytes(app[start : start + 4], "little") != _DESCRIPTION:
        return ""
    return app[start + 16 : start + 48].rstrip(b"\0").decode("ascii", "replace")


# The cache


def variant(board: Board) -> str:
    """The name of micropython.org's build for a board: by chip, and by a PSRAM that needs a build of its own."""
    about = board.board
    name = {"esp32": "ESP32_GENERIC", "esp32s3": "ESP32_GENERIC_S3", "esp32c3": "ESP32_GENERIC_C3",
            "esp32c6": "ESP32_GENERIC_C6"}[about.chip]  # fmt: skip
    if about.chip == "esp32" and about.psram_mb:
        return name + "-SPIRAM"
    return name + "-SPIRAM_OCT" if about.psram_octal else name


class Cache:
    """Downloads of a folder (the platform's place for them by default), each with the SHA-256 that it first had."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or platformdirs.user_cache_path("felinar") / "firmware"
        self._record = self.folder / "sha256.json"

    def find(self, board: Board, told: Callable[[str], None], *, site: str = SITE) -> Path:
        """The firmware for a board, downloaded where it is not here yet; `told` hears of a download and its hash.

        Raises FlashError: firmware-missing, firmware-changed.
        """
        if all(pin.source == "simulator" for pin in board.pins.values()):
            return self._virtual(board)
        name = f"{variant(board)}-{RELEASE}.bin"
        path = self.folder / name
        known = self._known()
        if not path.exists():
            told(f"downloading {site}/{name}")
            data = _download(f"{site}/{name}")
            self._write(path, data)
            digest = hashlib.sha256(data).hexdigest()
            if name not in known:
                self._write(self._record, msgspec.json.format(msgspec.json.encode({**known, name: digest})))
                told(f"SHA-256 {digest} is recorded as that of {name}: its maker publishes none to compare with")
            known = self._known()
        try:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError as error:
            raise FlashError("firmware-missing", f"{path} can't be read: {error.strerror}.") from error
        if known.get(name) != digest:
            raise FlashError(
                "firmware-changed", f"{path} has SHA-256 {digest}, and not {known.get(name, 'any that was recorded')}."
            )
        return path

    def _virtual(self, board: Board) -> Path:
        """What stands for MicroPython on a virtual board is made by the simulator, as a process: the host does not know it."""
        about = board.board
        path = self.folder / f"virtual-{about.chip}-{about.flash_mb}.bin"
        if not path.exists():
            fresh = path.with_name(f"{path.name}.{os.getpid()}")
            order = (
                "-m",
                "felinar_sim",
                "firmware",
                str(fresh),
                "--chip",
                about.chip,
                "--flash-mb",
                str(about.flash_mb),
            )
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                made = subprocess.run((sys.executable, *order), capture_output=True, text=True, check=False, timeout=60)
                if made.returncode:
                    why = made.stderr.strip().rpartition("\n")[2]
                    raise FlashError(
                        "firmware-missing", f"The board {about.id} is virtual, and its simulator can't be run: {why}."
                    )
                os.replace(fresh, path)
            except (OSError, subprocess.TimeoutExpired) as error:
                raise FlashError("firmware-missing", f"{path} can't be written: {error}.") from error
        return path

    def _known(self) -> dict[str, str]:
        try:
            return msgspec.json.decode(self._record.read_bytes(), type=dict[str, str])
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.DecodeError) as error:
            raise FlashError("firmware-changed", f"{self._record} can't be read: {error}.") from error

    def _write(self, path: Path, data: bytes) -> None:
        fresh = path.with_name(f"{path.name}.{os.getpid()}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            fresh.write_bytes(data)
            os.replace(fresh, path)
        except OSError as error:
            raise FlashError("firmware-missing", f"{path} can't be written: {error.strerror}.") from error


def _download(url: str) -> bytes:
    import httpx

    data = bytearray()
    try:
        with httpx.stream("GET", url, follow_redirects=True, timeout=30) as answer:
            answer.raise_for_status()
            for piece in answer.iter_bytes():
                data += piece
                if len(data) > _MOST:
                    raise FlashError("firmware-missing", f"{url} is too large to be a firmware.")
    except httpx.HTTPStatusError as error:
        raise FlashError("firmware-missing", f"{url} answers {error.response.status_code}.") from error
    except httpx.HTTPError as error:
        raise FlashError(
            "firmware-missing", f"{url} can't be reached: {str(error) or type(error).__name__}."
        ) from error
    return bytes(data)
