"""Signs updates with LMS (RFC 8554, W8/H10): a key that signs 1,024 times, each time with a leaf of its own.

A leaf used twice lets anyone forge. So its number is on the disk before a signature is given out; there is no way to
export the key; and a key that was copied or came out of a backup, whose number may be an old one, refuses to sign.
"""

from __future__ import annotations

import fcntl
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from struct import pack, unpack

import msgspec
import pyhsslms
from felinar_wire import lms

from felinar.keys.interface import KeyStoreError
from felinar.keys.vault import Vault, create_private, require_private

_W8 = pyhsslms.lmots_sha256_n32_w8
_HEIGHTS = {5: pyhsslms.lms_sha256_m32_h5, 10: pyhsslms.lms_sha256_m32_h10}
_TAG = (
    "Signature: 8a477f597d28d172789f06886806bc55\n"
    "# A one-time signing key of Felinar: never back up, never copy. See https://bford.info/cachedir/ for this file.\n"
)


class _Key(msgspec.Struct, array_like=True):
    seed: bytes
    ident: bytes
    height: int
    root: bytes


class UpdateSigner:
    """A signing key in a folder of its own: `key` (sealed), `tree` (public), `leaf` (the next one) and `seen`.

    `seen` holds the leaf's number once more, and when the system last changed the file `leaf`: a time that no tool
    which copies files or brings them back can set. (Changing mode or owner of `leaf` counts as copying.) The folder
    carries a CACHEDIR.TAG, which backup programs can be told to honour. A machine's snapshot goes unnoticed: don't sign
    on a machine that is ever rolled back.
    """

    def __init__(self, folder: Path, secret: bytes) -> None:
        self._folder = folder
        try:
            require_private(folder / "key")
            sealed = (folder / "key").read_bytes()
            self._tree = (folder / "tree").read_bytes()
        except OSError as error:
            raise KeyStoreError(f"The signing key in {folder} can't be read: {error}.") from error
        self._key = msgspec.msgpack.decode(Vault(secret).open("signing", sealed), type=_Key)
        with self._locked() as file:
            self._next(file)

    @classmethod
    def create(
        cls, folder: Path, secret: bytes, *, height: int = 10, random: Callable[[int], bytes] = os.urandom
    ) -> UpdateSigner:
        """Make a new key; takes some ten seconds for height 10 (1,024 signatures), less for 5 (32)."""
        try:
            folder.mkdir(mode=0o700, parents=True)
        except OSError as error:
            raise KeyStoreError(f"{folder} can't be made for a signing key: {error.strerror}.") from error
        private = pyhsslms.LmsPrivateKey(_HEIGHTS[height], _W8, SEED=random(32), I=random(16))
        key = _Key(private.SEED, private.I, height, private.pub)
        create_private(folder / "CACHEDIR.TAG", _TAG.encode())
        create_private(folder / "tree", b"".join(private._nodes[i] for i in range(1, 2 << height)))
        create_private(folder / "leaf", _record(0))
        create_private(folder / "seen", _record(0, (folder / "leaf").stat().st_ctime_ns))
        create_private(folder / "key", Vault(secret).seal("signing", msgspec.msgpack.encode(key)))
        return cls(folder, secret)

    @property
    def public(self) -> bytes:
        """The 60-byte HSS public key (one level) that nodes hold."""
        public: bytes = pack(">I", 1) + _HEIGHTS[self._key.height] + _W8 + self._key.ident + self._key.root
        return public

    @property
    def remaining(self) -> int:
        """Signatures left."""
        with self._locked() as file:
            return (1 << self._key.height) - self._next(file)

    def sign(self, message: bytes) -> bytes:
        """An HSS signature (1,456 bytes at height 10), good by the verifier that nodes run.

        The leaf is spent on disk before the signature is made. KeyStoreError when none is left, or the key was copied.
        """
        leaf = self._spend()
        one_time = pyhsslms.LmotsPrivateKey(I=self._key.ident, q=pack(">I", leaf), SEED=self._key.seed, lmots_type=_W8)
        path = b""
        node = 1 << self._key.height | leaf
        while node > 1:
            path += self._tree[32 * ((node ^ 1) - 1) : 32 * (node ^ 1)]
            node >>= 1
        signature: bytes = pack(">II", 0, leaf) + one_time.sign(message) + _HEIGHTS[self._key.height] + path
        if not lms.verify(self.public, message, signature):
            raise KeyStoreError(f"The signing key in {self._folder} is damaged: what it signs does not verify.")
        return signature

    def _spend(self) -> int:
        with self._locked() as seen:
            leaf = self._next(seen)
            if leaf >> self._key.height:
                raise KeyStoreError(
                    "The signing key has no signature left.", "Make a new one; nodes need its public half."
                )
            self._advance(leaf + 1)
            self._note(seen, leaf + 1)
            return leaf

    def _advance(self, leaf: int) -> None:
        # A new file in the old one's place. A write into the file would not do: killed at its very start it changes
        # the file's time and nothing else, and then the key looks restored.
        new = self._folder / "leaf.new"
        file = os.open(new, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            _put(file, _record(leaf))
            kept = _get(file) == (leaf, 0)
        finally:
            os.close(file)
        if not kept:
            raise KeyStoreError(f"{new} did not keep what was written to it.", "Replace the disk.")
        os.replace(new, self._folder / "leaf")
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _note(self, seen: int, leaf: int) -> None:
        _put(seen, _record(leaf, (self._folder / "leaf").stat().st_ctime_ns))

    def _next(self, seen: int) -> int:
        # The next leaf, if the two files agree on it. After a cut between their writes `leaf` is one ahead.
        file = os.open(self._folder / "leaf", os.O_RDONLY)
        try:
            leaf, _ = _get(file)
            now = os.fstat(file).st_ctime_ns
        finally:
            os.close(file)
        number, changed = _get(seen)
        if leaf == number + 1:
            self._note(seen, leaf)
        elif leaf != number or now != changed:
            raise KeyStoreError(
                f"The signing key in {self._folder} was copied or restored: it may have signed since.",
                "It must not sign again. Make a new key, and give the nodes its public half.",
            )
        return leaf

    @contextmanager
    def _locked(self) -> Iterator[int]:
        try:
            seen = os.open(self._folder / "seen", os.O_RDWR)
        except OSError as error:
            raise KeyStoreError(f"The signing key in {self._folder} can't be used: {error.strerror}.") from error
        try:
            fcntl.flock(seen, fcntl.LOCK_EX)
            yield seen
        except OSError as error:
            raise KeyStoreError(f"The signing key in {self._folder} can't be used: {error.strerror}.") from error
        finally:
            os.close(seen)


def _record(leaf: int, changed: int = 0) -> bytes:
    data = pack(">IQ", leaf, changed)
    return data + pack(">I", zlib.crc32(data))


def _put(file: int, record: bytes) -> None:
    # Two places in turn, so that a cut in the middle of a write leaves the other one whole.
    leaf = unpack(">I", record[:4])[0]
    if os.pwrite(file, record, leaf % 2 * len(record)) != len(record):
        raise KeyStoreError("The disk is full: nothing was signed.")
    os.fsync(file)


def _get(file: int) -> tuple[int, int]:
    # The higher of the two records: (leaf, time of change).
    found = []
    for at in (0, 16):
        data = os.pread(file, 16, at)
        if len(data) == 16 and zlib.crc32(data[:12]) == unpack(">I", data[12:])[0] and data != bytes(16):
            found.append(unpack(">IQ", data[:12]))
    if not found:
        raise KeyStoreError("The count of spent leaves is unreadable: the key must not sign again.", "Make a new key.")
    return max(found)
