"""The host's keys: root keys and sessions of nodes, the TESLA chain, the signing key of updates."""

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
