"""Which nodes have which zones: a plan's groups, by the ledger, and the group addresses that stand for them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from felinar.keys.interface import KeyStore

if TYPE_CHECKING:
    from felinar.provision.records import Record

LEDGER = "flash.db"
"""Name of the ledger in the data directory (`felinar.provision.ledger_file.FILE`)."""
LAST = 0xFEFF
"""The highest group address; those above are bridges' (docs/protocol.md)."""


def zone_of(group: str, named: Callable[[str], int | None]) -> int | None:
    """The group address of a plan's group: a number from 1 to LAST is one, else `named` tells; None for no group."""
    group = group.strip()
    if not group:
        return None
    if group.isascii() and group.isdigit() and 1 <= int(group) <= LAST:
        return int(group)
    return named(group.casefold())


def of_records(records: Iterable[Record], named: Callable[[str], int | None]) -> dict[int, frozenset[int]]:
    """The zones of each node that has a board, by its address."""
    found = {
        record.address: zone_of(record.entry.group, named)
        for record in records
        if record.mac is not None and record.state != "revoked"
    }
    return {address: frozenset({zone}) for address, zone in found.items() if zone is not None}


class Members:
    """The zones of nodes for a daemon: from the ledger, which is read again when it was written."""

    def __init__(self, ledger: Path, store: KeyStore) -> None:
        self._ledger = ledger
        self._store = store
        self._stamp: object = None
        self._known: dict[int, frozenset[int]] = {}

    def __call__(self) -> Mapping[int, frozenset[int]]:
        """By address; none without a ledger. Raises ProvisionError, KeyStoreError; what was known stays so."""
        stamp = self._look()
        if stamp != self._stamp:
            if stamp[0] is not None:
                self._known = self._read()  # closing it may tidy its files up: then it is read once more
            self._stamp = stamp
        return self._known

    def _look(self) -> tuple[object, ...]:
        return _stamp(self._ledger), _stamp(self._ledger.with_name(self._ledger.name + "-wal"))

    def _read(self) -> dict[int, frozenset[int]]:
        from felinar.provision.ledger import Ledger

        ledger = Ledger(self._ledger)
        try:
            return of_records(ledger.records(), self._store.name_zone)
        finally:
            ledger.close()


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        about = os.stat(path)
    except OSError:
        return None
    return about.st_mtime_ns, about.st_size
