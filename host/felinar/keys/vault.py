"""Secrets at rest: AES-256-GCM under a secret that lives in a file of its own."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from felinar.keys.interface import KeyStoreError

SECRET_BYTES = 32


def create_private(path: Path, content: bytes = b"") -> None:
    """Make a new file with mode 0600, durable; KeyStoreError when it exists or can't be written."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.fchmod(handle, 0o600)
            os.write(handle, content)
            os.fsync(handle)
        finally:
            os.close(handle)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise KeyStoreError(f"{path} can't be made: {error.strerror}.") from error


def require_private(path: Path) -> None:
    """KeyStoreError unless the file is for its owner alone (mode 0600 or less)."""
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o177:
        raise KeyStoreError(
            f"{path} has mode {mode:04o}, so that others can read it.", f"chmod 600 {path}, and ask who read it."
        )


def read_secret(path: Path, *, create: bool = False, random: Callable[[int], bytes] = os.urandom) -> bytes:
    """The 32-byte secret in a file of mode 0600; made anew when it is missing and `create` is set.

    Keep it apart from backups of the store: whoever has both has every key.
    """
    if create and not path.exists():
        create_private(path, random(SECRET_BYTES))
    try:
        require_private(path)
        secret = path.read_bytes()
    except OSError as error:
        raise KeyStoreError(f"The secret {path} can't be read: {error.strerror}.") from error
    if len(secret) != SECRET_BYTES:
        raise KeyStoreError(
            f"{path} is not a secret of {SECRET_BYTES} bytes.", "Put back the one the store was made with."
        )
    return secret


class Vault:
    """Seals small values, each bound to a name, so that one can't be put in another's place."""

    def __init__(self, secret: bytes, random: Callable[[int], bytes] = os.urandom) -> None:
        self._aead = AESGCM(secret)
        self._random = random

    def seal(self, name: str, value: bytes) -> bytes:
        nonce = self._random(12)
        return nonce + self._aead.encrypt(nonce, value, name.encode())

    def open(self, name: str, sealed: bytes) -> bytes:
        """KeyStoreError when the secret is another one, or the value was changed or belongs to another name."""
        try:
            return self._aead.decrypt(sealed[:12], sealed[12:], name.encode())
        except (InvalidTag, ValueError) as error:
            raise KeyStoreError(
                f"The key store's entry '{name}' does not open: it was changed, or the secret is another store's.",
                "Name the secret that the store was made with, or restore the store from its backup.",
            ) from error
