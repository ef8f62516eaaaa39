"""What `felinar doctor` does: looks at all that has to be well, changes nothing, and says what to do where it is not."""

from __future__ import annotations

import sqlite3
import stat
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import msgspec
from rich.console import Console
from rich.text import Text

from felinar import config as configuration
from felinar.care import machine
from felinar.care.findings import Finding, well
from felinar.config import Config
from felinar.errors import ClientError, ConfigError, FelinarError
from felinar.flash import ports as ports_
from felinar.flash.ports import Port

_STYLES = {"ok": "green", "note": "dim", "warning": "yellow", "wrong": "bold red"}
_RESTORE = "Restore it from its backup; nothing was changed."


def run(config: Path | None, data_dir: Path | None, ports: list[str], *, json: bool = False) -> bool:
    """Look at everything and tell of it; whether nothing is wrong."""
    findings: list[Finding] = []
    screen: Callable[[Finding], None] = _nothing if json else _Words().tell
    for finding in look(config, data_dir, ports):
        findings.append(finding)
        screen(finding)
    good = well(findings)
    if json:
        told = {"well": good, "findings": findings}
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(told), indent=1).decode() + "\n")
    else:
        bad = sum(finding.level == "wrong" for finding in findings)
        warnings = sum(finding.level == "warning" for finding in findings)
        front = "All is well" if good else f"{bad} thing{'s' if bad > 1 else ''} wrong"
        sys.stdout.write(f"{front}{f', {warnings} to look at' if warnings else ''}.\n")
    return good


def look(config: Path | None, data_dir: Path | None, ports: list[str]) -> Iterator[Finding]:
    """All findings, one after the other. A check that fails in a way nobody foresaw is a finding as well."""
    try:
        settings = configuration.load(config, data_dir=data_dir)
        yield Finding("configuration", "ok", _configured(config))
    except ConfigError as error:
        yield Finding("configuration", "wrong", error.sentence, error.remedy)
        settings = Config() if data_dir is None else Config(data_dir=str(data_dir))
    from felinar.flash.firmware import Cache

    checks: list[tuple[str, Callable[[], list[Finding]]]] = [
        ("versions", machine.versions),
        ("firmware", lambda: machine.firmware(Cache().folder)),
        ("port", lambda: machine.ports(_ports(ports), machine.user())),
        ("data", lambda: machine.disk(settings.directory)),
        ("database", lambda: database(settings.directory)),
        ("ledger", lambda: ledger(settings.directory)),
        ("keys", lambda: keys(settings)),
        ("clock", lambda: [machine.clock(time.time(), machine.kernel_clock(), machine.systemd_clock())]),
        ("daemon", lambda: daemon(settings)),
    ]
    for name, check in checks:
        try:
            yield from check()
        except (FelinarError, OSError, sqlite3.Error) as error:
            sentence = error.sentence if isinstance(error, FelinarError) else f"It can't be looked at: {error}."
            yield Finding(name, "wrong", sentence, getattr(error, "remedy", "") or "Check permissions.")


def _configured(config: Path | None) -> str:
    file = config or configuration.default_path()
    return f"{file} is sound" if file.exists() else f"defaults, as there is no {file}"


def _ports(named: list[str]) -> list[Port]:
    found = ports_.find()
    known = {port.device for port in found}
    return [*found, *(Port(device) for device in named if device not in known)]


# What is kept


def database(folder: Path) -> list[Finding]:
    """The daemon's database, looked at without changing it, also while the daemon writes."""
    from felinar.daemon import DATABASE
    from felinar.store.opening import APPLICATION_ID, migrations

    path = folder / DATABASE
    if not path.exists():
        return [
            Finding("database", "note", f"There is no database in {folder}.", "The daemon makes it when it starts.")
        ]
    return [_sqlite("database", path, APPLICATION_ID, migrations()[-1][0])]


def ledger(folder: Path) -> list[Finding]:
    """The ledger of what was flashed."""
    from felinar.provision.ledger_file import APPLICATION, FILE, VERSION

    path = folder / FILE
    if not path.exists():
        return []
    return [_sqlite("ledger", path, APPLICATION, VERSION)]


def _sqlite(name: str, path: Path, application: int, newest: int) -> Finding:
    from felinar.store.opening import quick_check, read_only

    try:
        head = path.read_bytes()[:16] if path.stat().st_size < 100 else _head(path)
        if head != b"SQLite format 3\0":
            what = "is empty: it has lost its content" if not path.stat().st_size else "is not a database"
            return Finding(name, "wrong", f"{path} {what}.", _RESTORE)
        log = path.with_name(path.name + "-wal").exists()
        with closing(read_only(path, immutable=not log)) as db:
            if db.execute("PRAGMA application_id").fetchone()[0] != application:
                return Finding(name, "wrong", f"{path} is of another program.", "Name another data directory.")
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version > newest:
                text = f"{path} is of version {version}, and this Felinar knows versions up to {newest}."
                return Finding(name, "wrong", text, "Update Felinar: pip install --upgrade felinar")
            wrong = quick_check(db)
    except sqlite3.DatabaseError as error:
        wrong = str(error)
    if wrong:
        return Finding(name, "wrong", f"{path} is damaged: {wrong}.", _RESTORE)
    return Finding(name, "ok", f"{path} is sound ({path.stat().st_size / 1e6:.1f} MB)")


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(16)


def keys(settings: Config) -> list[Finding]:
    """The key store: its modes, whether each key opens. Shows none."""
    from felinar.keys.place import FILE, keys_folder, open_keys, secret_path

    path, secret = keys_folder(settings) / FILE, secret_path()
    if not path.exists():
        return [
            Finding(
                "keys", "note", f"There is no key store in {path.parent}.", "The first board that is flashed makes it."
            )
        ]
    found = []
    if secret.exists():
        if path.parent.resolve() in secret.resolve().parents:
            text = f"The secret {secret} lies with the store that it opens: a copy of that folder has all keys."
            found.append(Finding("keys", "warning", text, "Move it elsewhere, and name it in FELINAR_SECRET."))
        mode = stat.S_IMODE(secret.stat().st_mode)
        if mode & 0o177:
            text = f"{secret} has mode {mode:04o}, so that others can read it."
            return [
                *found,
                Finding("keys", "wrong", text, f"chmod 600 '{secret}', and renew all keys if somebody has."),
            ]
    store = open_keys(path.parent, role="read")
    try:
        nodes = store.nodes()
        for address in nodes:
            store.root(address)
            store.last_join(address)
        waiting = store.pending()
        for address, board in waiting:
            store.pending_key(address, board)
    finally:
        store.close()
    text = f"{path}: {len(nodes)} keys, {len(waiting)} that wait for their proof; all open"
    found.append(Finding("keys", "ok", text))
    return found


# The daemon


def daemon(settings: Config) -> list[Finding]:
    """Whether a daemon runs, and what it says of itself."""
    from felinar.client import Client, find
    from felinar.control_address import ADDRESS_FILE
    from felinar.daemon import installed_version

    if not (settings.run / ADDRESS_FILE).exists():
        remedy = "Where it should: felinar daemon --port /dev/ttyUSB0"
        return [Finding("daemon", "note", f"No daemon runs on {settings.directory}.", remedy)]
    try:
        with Client(find(settings)) as client:
            status = client.status()
    except ClientError as error:
        return [Finding("daemon", "wrong", f"A daemon was started, but: {error.sentence}", error.remedy)]
    found = []
    mine = installed_version()
    if status.version != mine:
        text = f"The daemon is felinar {status.version}, and this is {mine}."
        found.append(Finding("daemon", "warning", text, "Start the daemon again after an update."))
    if status.store.trouble:
        text = f"The daemon can't write its database: {status.store.trouble}."
        found.append(
            Finding("daemon", "wrong", text, "See to disk and permissions; nodes keep their messages meanwhile.")
        )
    if status.store.check not in ("ok", "running"):
        found.append(
            Finding("daemon", "wrong", f"The daemon finds its database damaged: {status.store.check}.", _RESTORE)
        )
    for link in status.links:
        if link.state != "live":
            text = f"The line {link.url} is {link.state}{_because(link.reason)}."
            found.append(
                Finding("daemon", "warning", text, "felinar nodes tells more; felinar ports lists what is there.")
            )
    for bridge in status.bridges:
        if bridge.state != "live":
            text = f"The bridge {bridge.url} is {bridge.state}{_because(bridge.reason)}."
            found.append(Finding("daemon", "warning", text, "Is it plugged in? felinar nodes tells more."))
    online = sum(node.online for node in status.nodes)
    text = (
        f"felinar {status.version} (process {status.pid}) answers; {online} of {len(status.nodes)} nodes are connected"
    )
    return [*found, Finding("daemon", "ok", text)]


def _because(reason: str | None) -> str:
    return f": {reason.rstrip('.')}" if reason else ""


# The screen


def _nothing(finding: Finding) -> None:
    pass


class _Words:
    def __init__(self) -> None:
        self._console = Console(highlight=False, soft_wrap=True)

    def tell(self, finding: Finding) -> None:
        line = Text(f"{finding.level:<8}", style=_STYLES[finding.level])
        line.append(f" {finding.check:<14}{finding.text}", style="")
        self._console.print(line)
        if finding.remedy:
            self._console.print(Text(f"{'':<23}{finding.remedy}", style="dim"))
