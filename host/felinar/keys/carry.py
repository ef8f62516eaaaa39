"""Keys between machines: one sealed file, opened by a passphrase (scrypt, RFC 7914; AES-256-GCM, NIST SP 800-38D)."""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Annotated, Any

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from felinar.keys.interface import KeyStore, KeyStoreError
from felinar.keys.vault import create_private

SHORTEST = 12
"""Characters of a passphrase."""
N = 1 << 17  # with r = 8: 128 MB and some tenths of a second for each guess (OWASP, Password Storage)
_LARGEST_N = 1 << 20
_LONGEST = 64 << 20

Key = Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]
Address = Annotated[int, msgspec.Meta(ge=0, le=0xFFFF)]


class Active(msgspec.Struct, array_like=True, frozen=True):
    """A node's key in force, and the highest join counter that was answered under it."""

    address: Address
    root: Key
    joined: int


class Waiting(msgspec.Struct, array_like=True, frozen=True):
    """A key that waits for its proof."""

    address: Address
    holder: str
    root: Key


class Zone(msgspec.Struct, array_like=True, frozen=True):
    """A group's key."""

    address: Address
    key: Key


class Parcel(msgspec.Struct):
    """What travels; `ledger` is what goes with the keys, as whoever packed it wrote it. Never print one: it holds keys."""

    made: int
    active: list[Active] = []
    waiting: list[Waiting] = []
    zones: list[Zone] = []
    ledger: bytes = b""

    def __repr__(self) -> str:
        return f"Parcel({len(self.active)} active, {len(self.waiting)} waiting, {len(self.zones)} zones)"

    __str__ = __repr__


class _Sealed(msgspec.Struct, forbid_unknown_fields=True):
    felinar_keys: int
    n: int
    r: int
    p: int
    salt: str
    nonce: str
    sealed: str = ""


class Taken(msgspec.Struct):
    """What an import did, by address: new here, the same as here, in place of another one."""

    new: list[int] = []
    same: list[int] = []
    replaced: list[int] = []


def pack(store: KeyStore, nodes: Collection[int] | None = None, *, ledger: bytes = b"") -> Parcel:
    """All keys of a store, or those of some nodes (then no zones). Raises KeyStoreError for a node without a key."""
    active = [a for a in store.nodes() if nodes is None or a in nodes]
    waiting = [(a, holder) for a, holder in store.pending() if nodes is None or a in nodes]
    missing = set(nodes or ()) - set(active) - {address for address, _ in waiting}
    if missing:
        raise KeyStoreError(f"There is no key of node {', '.join(map(str, sorted(missing)))}.", "`felinar keys list`")
    parcel = Parcel(int(time.time()), ledger=ledger)
    for address in active:
        root = store.root(address)
        assert root is not None
        parcel.active.append(Active(address, root, store.last_join(address)))
    for address, holder in waiting:
        key = store.pending_key(address, holder)
        assert key is not None
        parcel.waiting.append(Waiting(address, holder, key))
    if nodes is None:
        parcel.zones = [Zone(address, store.zone_key(address)) for address in store.zones()]
    return parcel


def unpack(store: KeyStore, parcel: Parcel, *, replace: bool = False, dry: bool = False) -> Taken:
    """Keep a parcel's keys. Nothing is changed when a node has another key here, unless `replace` lets the parcel's win.

    Should it be ended half-way, doing it again completes it. `dry`: only look, and refuse.
    """
    taken = Taken()
    others: list[int] = []
    for active in parcel.active:
        known = store.root(active.address)
        group = taken.new if known is None else taken.same if known == active.root else others
        group.append(active.address)
    others += [
        w.address for w in parcel.waiting if store.pending_key(w.address, w.holder) not in (None, w.root)
    ]  # fmt: skip
    zones = set(store.zones())
    foreign = [z.address for z in parcel.zones if z.address in zones and store.zone_key(z.address) != z.key]
    if (others or foreign) and not replace:
        what = [f"node {address}" for address in sorted(set(others))] + [f"zone {address}" for address in foreign]
        shown = ", ".join(what[:12]) + (" …" if len(what) > 12 else "")
        raise KeyStoreError(
            f"Another key is here already for {shown}; nothing was taken over.",
            "Find out which one the board has; --replace puts those of the file in their place.",
        )
    taken.replaced = sorted(set(others))
    if dry:
        return taken
    for active in parcel.active:
        if active.address not in taken.same:
            store.put(active.address, active.root, active.joined)
    for waiting in parcel.waiting:
        store.put_pending(waiting.address, waiting.holder, waiting.root)
    for zone in parcel.zones:
        store.put_zone(zone.address, zone.key)
    return taken


def seal(parcel: Parcel, passphrase: str, *, n: int = N, random: Callable[[int], bytes] = os.urandom) -> bytes:
    """The file's content. Raises KeyStoreError for a short passphrase."""
    if len(passphrase) < SHORTEST:
        raise KeyStoreError(
            f"The passphrase has {len(passphrase)} characters, and at least {SHORTEST} are needed.",
            "Four words that have nothing to do with each other are good ones.",
        )
    head = _Sealed(1, n, 8, 1, _text(random(16)), _text(random(12)))
    data = AESGCM(_key(passphrase, head)).encrypt(_bytes(head.nonce), msgspec.msgpack.encode(parcel), _front(head))
    head.sealed = _text(data)
    return msgspec.json.encode(head) + b"\n"


def unseal(content: bytes, passphrase: str) -> Parcel:
    """What was sealed. Raises KeyStoreError: no such file, changed, another passphrase."""
    try:
        head = msgspec.json.decode(content, type=_Sealed)
        salt, nonce, data = _bytes(head.salt), _bytes(head.nonce), _bytes(head.sealed)
    except (msgspec.MsgspecError, ValueError) as error:
        raise KeyStoreError("This is no file of Felinar's keys.", "`felinar keys export` makes one.") from error
    if head.felinar_keys != 1:
        raise KeyStoreError("The file was made by a newer Felinar.", "Update this one.")
    sound = 1 < head.n <= _LARGEST_N and head.n & (head.n - 1) == 0 and 0 < head.r <= 16 and 0 < head.p <= 4
    if not sound or len(salt) < 16 or len(nonce) != 12:
        raise KeyStoreError("The file asks for a passphrase's work that is not sensible: it was changed.")
    try:
        opened = AESGCM(_key(passphrase, head)).decrypt(nonce, data, _front(head))
    except InvalidTag as error:
        raise KeyStoreError(
            "The file does not open: the passphrase is another one, or the file was changed.",
            "Try again; else export once more.",
        ) from error
    try:
        return msgspec.msgpack.decode(opened, type=Parcel)
    except msgspec.MsgspecError as error:
        raise KeyStoreError("The file opens, but holds what no Felinar of this version writes.") from error


def _key(passphrase: str, head: _Sealed) -> bytes:
    kdf = Scrypt(salt=_bytes(head.salt), length=32, n=head.n, r=head.r, p=head.p)
    derived: bytes = kdf.derive(passphrase.encode())
    return derived


def _front(head: _Sealed) -> bytes:
    front: dict[str, Any] = msgspec.structs.asdict(head)
    del front["sealed"]
    return msgspec.json.encode(front, order="sorted")


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _bytes(text: str) -> bytes:
    data = base64.b64decode(text, validate=True)
    if _text(data) != text:
        raise ValueError("bits that stand for nothing are set")
    return data


def write(path: Path, content: bytes) -> None:
    """A new file of mode 0600; one that is there is never overwritten. Raises KeyStoreError."""
    if path.exists():
        raise KeyStoreError(f"{path} exists.", "Name another file: an export never overwrites one.")
    create_private(path, content)


def read(path: Path) -> bytes:
    """A file's content. Raises KeyStoreError."""
    try:
        if path.stat().st_size > _LONGEST:
            raise KeyStoreError(f"{path} is too large to be a file of keys.")
        return path.read_bytes()
    except OSError as error:
        raise KeyStoreError(f"{path} can't be read: {(error.strerror or str(error)).lower()}.") from error
