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
import pyhsslms  # type: ignore[import-untyped]
from felinar_wire import lms

from felinar.keys.interface import KeyStoreError
from felinar.keys.sqlite import machine_id
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
    place: str


class UpdateSigner:
    """A signing key in a folder of its own: `key` (sealed), `leaf` (the next leaf, in place), `tree` (public).

    The folder carries a CACHEDIR.TAG, which backup programs can be told to honour.
    """

    def __init__(self, folder: Path, secret: bytes, *, machine: Callable[[], str] = machine_id) -> None:
        self._folder = folder
        self._machine = machine
        try:
            require_private(folder / "key")
            self._key = msgspec.msgpack.decode(Vault(secret).open("signing", (folder / "key").read_bytes()), type=_Key)
            self._tree = (folder / "tree").read_bytes()
            place = self._place()
        except OSError as error:
            raise KeyStoreError(f"The signing key in {folder} can't be read: {error}.") from error
        if place != self._key.place:
            raise KeyStoreError(
                f"The signing key in {folder} was copied or restored: it may have signed since.",
                "It must not sign again. Make a new key, and give the nodes its public half.",
            )

    @classmethod
    def create(
        cls,
        folder: Path,
        secret: bytes,
        *,
        height: int = 10,
        random: Callable[[int], bytes] = os.urandom,
        machine: Callable[[], str] = machine_id,
    ) -> UpdateSigner:
        """Make a new key; takes some ten seconds for height 10 (1,024 signatures), less for 5 (32)."""
        try:
            folder.mkdir(mode=0o700, parents=True)
        except OSError as error:
            raise KeyStoreError(f"{folder} can't be made for a signing key: {error.strerror}.") from error
        private = pyhsslms.LmsPrivateKey(_HEIGHTS[height], _W8, SEED=random(32), I=random(16))
        tree = b"".join(private._nodes[i] for i in range(1, 2 << height))
        create_private(folder / "CACHEDIR.TAG", _TAG.encode())
        create_private(folder / "tree", tree)
        create_private(folder / "leaf", _slot(0) + bytes(8))
        place = f"{(folder / 'leaf').stat().st_ino} {machine()}"
        key = _Key(private.SEED, private.I, height, private.pub, place)
        create_private(folder / "key", Vault(secret).seal("signing", msgspec.msgpack.encode(key)))
        return cls(folder, secret, machine=machine)

    def _place(self) -> str:
        return f"{(self._folder / 'leaf').stat().st_ino} {self._machine()}"

    @property
    def public(self) -> bytes:
        """The 60-byte HSS public key (one level) that nodes hold."""
        public: bytes = pack(">I", 1) + bytes(_HEIGHTS[self._key.height]) + _W8 + self._key.ident + self._key.root
        return public

    @property
    def remaining(self) -> int:
        """Signatures left."""
        with self._locked() as file:
            return (1 << self._key.height) - _read(file)[0]

    def sign(self, message: bytes) -> bytes:
        """An HSS signature (1,456 bytes at height 10), good by the verifier that nodes run.

        The leaf is spent on disk before the signature is made. Raises KeyStoreError when no leaf is left.
        """
        leaf = self._spend()
        one_time = pyhsslms.LmotsPrivateKey(I=self._key.ident, q=pack(">I", leaf), SEED=self._key.seed, lmots_type=_W8)
        path = b""
        node = 1 << self._key.height | leaf
        while node > 1:
            path += self._tree[(node ^ 1) - 1 << 5 : node ^ 1 << 5]
            node >>= 1
        signature: bytes = pack(">II", 0, leaf) + one_time.sign(message) + _HEIGHTS[self._key.height] + path
        if not lms.verify(self.public, message, signature):
            raise KeyStoreError(f"The signing key in {self._folder} is damaged: what it signs does not verify.")
        return signature

    def _spend(self) -> int:
        with self._locked() as file:
            leaf, place = _read(file)
            if leaf >> self._key.height:
                raise KeyStoreError(
                    "The signing key has no signature left.", "Make a new key while old nodes still trust it."
                )
            # The older of the two slots is written, so that a cut in the middle leaves the other one whole.
            os.pwrite(file, _slot(leaf + 1), place ^ 8)
            os.fsync(file)
            if _read(file)[0] != leaf + 1:
                raise KeyStoreError(
                    f"{self._folder / 'leaf'} did not keep what was written to it.", "Replace the disk."
                )
            return leaf

    @contextmanager
    def _locked(self) -> Iterator[int]:
        file = os.open(self._folder / "leaf", os.O_RDWR)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield file
        finally:
            os.close(file)


def _slot(leaf: int) -> bytes:
    return pack(">I", leaf) + pack(">I", zlib.crc32(pack(">I", leaf)))


def _read(file: int) -> tuple[int, int]:
    # The next leaf, and where it stands: the higher of two slots of 8 bytes.
    slots = []
    for place in (0, 8):
        data = os.pread(file, 8, place)
        leaf = unpack(">I", data[:4])[0] if len(data) == 8 else 0
        if data == _slot(leaf):
            slots.append((leaf, place))
    if not slots:
        raise KeyStoreError(
            "The count of spent leaves is unreadable: the signing key must not sign again.", "Make a new key."
        )
    return max(slots)
