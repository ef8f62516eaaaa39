"""Where this machine's key store is, and the secret that opens it."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

from felinar.config import Config
from felinar.keys.interface import KeyStoreError
from felinar.keys.sqlite import Role, SqliteKeyStore
from felinar.keys.vault import read_secret

FILE = "keys.db"


def keys_folder(config: Config) -> Path:
    """The folder of the key store: the configuration's `keys.folder`, else the data directory."""
    return Path(config.keys.folder).expanduser() if config.keys.folder else config.directory


def secret_path() -> Path:
    """The file that $FELINAR_SECRET names, the credential `felinar-secret` of a service manager, or the user's own.

    It is not in the data directory, so that a copy of that is worth nothing without it.
    """
    if named := os.environ.get("FELINAR_SECRET"):
        return Path(named).expanduser()
    credential = Path(os.environ.get("CREDENTIALS_DIRECTORY", "/nowhere")) / "felinar-secret"
    return credential if credential.exists() else platformdirs.user_config_path("felinar") / "secret"


def open_keys(data_dir: Path, *, create: bool = False, role: Role = "keys") -> SqliteKeyStore:
    """The key store of a data directory; with `create` it is made where there is none, and its secret too.

    A command opens it for `keys`, beside a daemon, which has `sessions`. Raises KeyStoreError: no store, no secret,
    another process of that role has it open.
    """
    path, secret = data_dir / FILE, secret_path()
    if path.exists():
        if not secret.exists():
            raise KeyStoreError(
                f"The secret {secret}, which opens the key store {path}, is missing.",
                "Put it back, or name it in FELINAR_SECRET; without it these keys are lost and each board needs a new one.",
            )
    elif not create:
        raise KeyStoreError(
            f"There is no key store in {data_dir}.",
            "`felinar flash` makes it with the first board, `felinar keys import` with keys of another machine.",
        )
    else:
        try:
            data_dir.mkdir(parents=True, exist_ok=True)
            secret.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise KeyStoreError(f"{error.filename} can't be made: {error.strerror}.") from error
    return SqliteKeyStore(path, read_secret(secret, create=create), create=create, role=role)
