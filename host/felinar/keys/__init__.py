"""The host's keys: root keys and sessions of nodes, the TESLA chain, the signing key of updates."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from felinar.keys.broadcast import Broadcast
    from felinar.keys.interface import KeyStore, KeyStoreError, SessionState
    from felinar.keys.keyring import Keyring, Opened
    from felinar.keys.signing import UpdateSigner
    from felinar.keys.sqlite import SqliteKeyStore
    from felinar.keys.vault import read_secret

__all__ = [
    "Broadcast",
    "KeyStore",
    "KeyStoreError",
    "Keyring",
    "Opened",
    "SessionState",
    "SqliteKeyStore",
    "UpdateSigner",
    "read_secret",
]

_WHERE = {
    "Broadcast": "broadcast",
    "KeyStore": "interface",
    "KeyStoreError": "interface",
    "SessionState": "interface",
    "Keyring": "keyring",
    "Opened": "keyring",
    "UpdateSigner": "signing",
    "SqliteKeyStore": "sqlite",
    "read_secret": "vault",
}


def __getattr__(name: str) -> Any:
    # Loaded when asked for: the command line names this package at each start, and cryptography takes its time.
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"felinar.keys.{_WHERE[name]}"), name)
