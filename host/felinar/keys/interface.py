"""What the host asks of a key store, whatever keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import msgspec

from felinar.errors import FelinarError


class KeyStoreError(FelinarError):
    """Keys can't be opened, read or written, or must not be used. Nothing was sealed or signed with them."""


class SessionState(msgspec.Struct, array_like=True):
    """One node's session as it is kept: enough to go on after a restart without using a nonce twice.

    `sent` is a counter that no frame to the node has passed, `top` and `seen` the replay window of what came from it,
    `request` and `answer` the JOIN_REQ and the JOIN_ACC that began it.
    """

    join: int
    schema: int
    boot: int
    up: bytes
    down: bytes
    request: bytes
    answer: bytes
    sent: int = 0
    top: int = 0
    seen: int = 0xFFFFFFFFFFFFFFFF


class KeyStore(Protocol):
    """Root keys, join counters and sessions of nodes, and the secrets of groups. Every change is durable on return."""

    def nodes(self) -> list[int]:
        """Addresses that have a root key."""

    def provision(self, address: int) -> bytes:
        """A new random root key for an address (0-65535), in place of one it had; its session ends."""

    def remove(self, address: int) -> None:
        """Forget a node: its key, those that wait for their proof, counter and session."""

    def root(self, address: int) -> bytes | None:
        """The node's 16-byte root key."""

    def put(self, address: int, root: bytes, joined: int = 0) -> None:
        """Keep a key that was made elsewhere, with the highest join counter answered under it; a session ends."""

    def prepare(self, address: int, holder: str) -> bytes:
        """A new random key that waits for its proof: for one holder (a board's MAC, or how else it travels) the same
        until it is activated or dropped. `root` and `nodes` know nothing of it, and the node's present key stays."""

    def pending(self) -> list[tuple[int, str]]:
        """(address, holder) of all keys that wait for their proof."""

    def pending_key(self, address: int, holder: str) -> bytes | None:
        """The key that waits there, None when there is none."""

    def put_pending(self, address: int, holder: str, root: bytes) -> None:
        """Keep a key that waits for its proof and was made elsewhere, in place of one of that holder."""

    def pending_step(self, address: int, holder: str) -> str:
        """How far a key that waits there has come, a word of its holder's; empty at first, and when there is none."""

    def set_step(self, address: int, holder: str, step: str) -> None:
        """Keep that."""

    def activate(self, address: int, holder: str, *, same_board: bool = False) -> bool:
        """The holder has proved its key: in one step it becomes the node's, and the session of the old one ends.
        False when none waits there: it has been activated before. `same_board`: it only has another key now."""

    def uid(self, address: int) -> str | None:
        """What the node's board is known by on the air: it follows from the key that it was flashed with, and stays when
        that is changed there. None when the node has no key."""

    def drop(self, address: int, holder: str) -> None:
        """Forget a key that waits for its proof: only for one that surely is on no board."""

    def last_join(self, address: int) -> int:
        """The highest join counter that was answered, 0 before the first."""

    def session(self, address: int) -> SessionState | None:
        """The node's session, if it has one."""

    def begin(self, address: int, state: SessionState, root: bytes | None = None) -> bool:
        """Keep a new session and its join counter, in one step. False, and nothing kept, when the key that it was made
        of, `root`, is no longer the node's."""

    def save(self, states: Mapping[int, SessionState]) -> None:
        """Keep the states of sessions, all or none; of one that has been ended meanwhile nothing is kept."""

    def sessions(self) -> list[int]:
        """Addresses that have a session."""

    def changed(self) -> bool:
        """Whether another process may have changed something since this was last asked; it costs next to nothing."""

    def invalidate(self) -> int:
        """End all sessions, so that every node joins anew; how many there were."""

    def zone_key(self, address: int) -> bytes:
        """The 16-byte key of a group address, made on first use."""

    def rotate_zone(self, address: int) -> bytes:
        """A new key for a group address, after one of its nodes was stolen."""

    def zones(self) -> list[int]:
        """Group addresses that have a key."""

    def put_zone(self, address: int, key: bytes) -> None:
        """Keep a group's key that was made elsewhere, in place of one it had."""

    def zoned(self) -> dict[tuple[int, int], bytes]:
        """Which key of a zone (`rekey.mark`) a node has said to have, by (node's address, zone)."""

    def set_zoned(self, address: int, zone: int, mark: bytes) -> None:
        """Keep that it has said so; all of it is forgotten with the node's board."""

    def zone_names(self) -> dict[str, int]:
        """Group addresses by the names that plans give to groups, in lower case."""

    def name_zone(self, name: str) -> int:
        """The group address of a name, given out at its first use. Raises KeyStoreError when there is none left."""

    def chain_secret(self) -> bytes:
        """The 32-byte secret behind the TESLA chains, made on first use."""

    def backup(self, target: Path) -> None:
        """Write a copy to a new file: root keys and zone keys, no sessions, no chain secret."""

    def close(self) -> None:
        """Release what is held."""
