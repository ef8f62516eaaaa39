"""Groups of a plan as zones: their addresses, who is in them, and the commands that tell and renew."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from felinar.keys import KeyStoreError, commands
from felinar.keys.place import open_keys
from felinar.keys.rekey import mark
from felinar.keys.zones import Members, zone_of
from felinar.provision.ledger import Ledger
from felinar.provision.ledger_file import FILE
from felinar.provision.plan import PlanEntry
from typer.testing import CliRunner


def entry(number: int, group: str) -> PlanEntry:
    return PlanEntry(f"B-{number}", f"Pole {number}", 47.7, 26.6, group=group)


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    """Five poles; the boards of four are there."""
    monkeypatch.setenv("FELINAR_SECRET", str(tmp_path / "secret"))
    ledger = Ledger(tmp_path / FILE)
    ledger.merge([entry(1, "Centru"), entry(2, "centru "), entry(3, ""), entry(4, "40000"), entry(5, "piata")])
    for number in range(1, 5):
        ledger.take(f"246f28aabb{number:02x}")
    yield ledger
    ledger.close()


def run(tmp_path: Path, *words: object) -> str:
    result = CliRunner().invoke(commands.app, [*map(str, words), "-d", str(tmp_path)], env={"COLUMNS": "160"})
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.output


def test_members_follow_the_ledger(ledger: Ledger, tmp_path: Path) -> None:
    store = open_keys(tmp_path, create=True, role="sessions")
    members = Members(tmp_path / FILE, store)
    assert members() == {1: {0x8001}, 2: {0x8001}, 4: {40_000}}
    assert members() is members()
    ledger.revoke(2, "stolen")
    ledger.take("246f28aabb05")
    assert members() == {1: {0x8001}, 4: {40_000}, 5: {0x8002}}
    assert store.zone_names() == {"centru": 0x8001, "piata": 0x8002}
    assert Members(tmp_path / "none" / FILE, store)() == {}
    store.close()


@pytest.mark.parametrize(
    ("group", "zone"), [("", None), (" 7 ", 7), ("0", 99), ("65279", 65279), ("65280", 99), ("Centru", 99), ("²", 99)]
)
def test_a_number_is_an_address(group: str, zone: int | None) -> None:
    assert zone_of(group, lambda name: 99) == zone


def test_commands(ledger: Ledger, tmp_path: Path) -> None:
    daemon = open_keys(tmp_path, create=True, role="sessions")
    Members(tmp_path / FILE, daemon)()
    daemon.set_zoned(2, 0x8001, mark(daemon.zone_key(0x8001)))

    def zones() -> dict[int, tuple[str | None, list[int], list[int]]]:
        rows = json.loads(run(tmp_path, "zones", "--json"))
        return {row["zone"]: (row["group"], row["nodes"], row["missing"]) for row in rows}

    assert zones() == {0x8001: ("centru", [1, 2], [1]), 40_000: (None, [4], [4])}
    (line,) = (line for line in run(tmp_path, "zones").splitlines() if "centru" in line)
    assert line.split() == ["32769", "centru", "2", "1"]
    before = daemon.zone_key(0x8001)
    assert "Zone 32769 has a new key" in run(tmp_path, "rotate", "--zone", "CENTRU")
    assert daemon.zone_key(0x8001) != before
    assert zones()[0x8001][2] == [1, 2]
    assert "Zone 32770 has a new key" in run(tmp_path, "rotate", "--zone", "piata")  # of the plan, not asked for before
    assert "Revoked: node 4 (B-4). New key: zone 40000." in run(tmp_path, "revoke", "B-4", "--yes", "--zone", 40_000)
    with pytest.raises(KeyStoreError, match="'nowhere' is no group"):
        run(tmp_path, "rotate", "--zone", "nowhere")
    with pytest.raises(KeyStoreError, match="'65280' is no group"):
        run(tmp_path, "rotate", "--zone", 65280)
    daemon.close()
