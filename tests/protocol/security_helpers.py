"""A street of nodes and a host for security tests: both ends' real code, storage that can lose power, nonces watched."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from felinar.keys import Broadcast, Keyring, SqliteKeyStore
from felinar.keys import keyring as keyring_module
from felinar.keys.sqlite import Role
from felinar_wire import join, schema, session
from felinar_wire.aes import Ccm
from felinar_wire.session import Session

REPORT, HEALTH, LAMP_SET, RESULT = schema.REPORT, schema.HEALTH, schema.LAMP_SET, schema.RESULT
SECRET = bytes(range(32))
START = 1_800_000_000  # Unix time that tests begin at
EPOCH = schema.EPOCH_UNIX


def crc(version: int) -> Callable[[int], int]:
    """A table of messages for each schema version: version 1 and 2 differ in the CRC of every message."""
    if version not in (1, 2):
        raise KeyError(version)
    return lambda kind: {REPORT: 11, HEALTH: 12, LAMP_SET: 13, RESULT: 14}[kind] * 100 + version


class PowerCut(Exception):
    """The supply failed."""


class Nvs:
    """A node's join counter on flash: durable once `write` has returned, with a power cut where the test wants one."""

    def __init__(self, value: int = 0) -> None:
        self.value = value
        self.cut = ""

    def read(self) -> int:
        return self.value

    def write(self, value: int) -> None:
        if self.cut == "before":
            raise PowerCut
        self.value = value
        if self.cut == "after":
            raise PowerCut


class Node:
    """A node's side of joining and of its session."""

    def __init__(self, address: int, root: bytes, nvs: Nvs | None = None, version: int = 1) -> None:
        self.address = address
        self.root = root
        self.nvs = nvs or Nvs()
        self.version = version
        self.counts: dict[str, int] = {}
        self.session: Session | None = None
        self.boots = 0

    def boot(self) -> bytes:
        """Reserve a join counter and ask; the request may be sent any number of times."""
        self.session = None
        self.boots += 1
        self.counter = join.reserve(self.nvs.read, self.nvs.write)
        return join.request(self.root, self.address, self.counter, self.version, self.boots & 0xFFFF)

    def accept(self, answer: bytes) -> tuple[int, int, int, bytes]:
        accepted = join.accept(answer, self.root, self.address, self.counter, crc(self.version), self.counts)
        self.session = accepted[0]
        return accepted[1:]

    def seal(self, kind: int, body: bytes) -> bytes:
        assert self.session
        return self.session.seal(kind, body)

    def open(self, data: bytes) -> tuple[int, int, bytes]:
        assert self.session
        return self.session.open(data)


class Host:
    """The host's side, over a real key store in a folder; its clock is `self.time` (Unix seconds)."""

    def __init__(self, folder: Path, seed: int = 1, role: Role = "all") -> None:
        self.path = folder / "keys.db"
        self.role: Role = role
        self.time = float(START)
        self.machine = "machine-1"
        self._random = random.Random(seed)
        self.start(create=True)

    def bytes(self, n: int) -> bytes:
        return self._random.randbytes(n)

    def start(self, *, create: bool = False) -> None:
        self.store = SqliteKeyStore(
            self.path, SECRET, create=create, role=self.role,
            now=lambda: self.time, random=self.bytes, machine=lambda: self.machine,
        )  # fmt: skip
        # These hosts are killed, not unplugged: what was written survives without waiting for the disk.
        self.store._db.execute("PRAGMA synchronous=OFF")
        self.broadcast = Broadcast(self.store.chain_secret(), self.store.zone_key)
        self.keyring = Keyring(
            self.store,
            crc=crc,
            now=lambda: int((self.time - EPOCH) * 1000),
            anchor=self.broadcast.anchor,
            slot=lambda address: (address % 1000, 3),
            random=self.bytes,
        )

    def stop(self) -> None:
        self.keyring.commit()
        self.store.close()

    def crash(self) -> None:
        """Killed: nothing is written on the way out."""
        self.store._end()

    def open(self, data: bytes) -> Any:
        opened = self.keyring.open(data)
        self.keyring.commit()
        return opened


class Watch:
    """Every (key, nonce) that anything was sealed under."""

    def __init__(self) -> None:
        self.pairs: set[tuple[bytes, bytes]] = set()
        self.twice: list[tuple[bytes, bytes]] = []

    def note(self, key: bytes, nonce: bytes) -> None:
        pair = (bytes(key), bytes(nonce))
        if pair in self.pairs:
            self.twice.append(pair)
        self.pairs.add(pair)


@contextmanager
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[Watch]:
    """Watch every seal of the node's and the host's code while it lasts."""
    watch = Watch()

    class Watched(Ccm):
        def __init__(self, key: bytes) -> None:
            super().__init__(key)
            self.watched = key

        def seal(self, nonce: bytes, plain: bytes, tag: int, aad: bytes = b"") -> bytes:
            watch.note(self.watched, nonce)
            return super().seal(nonce, plain, tag, aad)

    with monkeypatch.context() as patch:
        for module in (session, join, keyring_module):
            patch.setattr(module, "Ccm", Watched)
        yield watch
    assert not watch.twice
