"""Snapshots of the message table: the schema does not change without one, and no version breaks what is released."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import pytest
from felinar import tables
from felinar.tables import __main__, snapshots
from felinar_wire import schema
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.protocol import evolved


def test_this_schema_has_its_snapshot_and_every_version_may_follow_the_one_before() -> None:
    """Fails when the schema was changed without its version rising, or without a new snapshot."""
    known = snapshots.stored()
    assert sorted(known) == list(range(1, schema.VERSION + 1))
    now = known[schema.VERSION]
    assert now["tables"] == schema.TABLE, (
        "the message table was changed: raise schema.VERSION if this one is released, then run "
        "python -m felinar.tables snapshot"
    )
    assert snapshots.lineage(snapshots.load()) == []
    for version, one in known.items():
        for name, message in one["messages"].items():
            kind = message["kind"]
            assert tables.history.NAMES[kind] == name
            assert message["crc"] == schema.checksum(kind, one["tables"]), (
                f"{name} of schema {version} was changed by hand"
            )
        assert one["vocabulary"].items() <= snapshots.vocabulary().items(), "a name of the schema has another number"
        assert snapshots.unmoved(one["frozen"]), (
            "a message of felinar_wire.core was changed: give it another kind, or, as long as nothing is released, "
            "run python -m felinar.tables snapshot"
        )
    assert {kind: schema.crc(kind) for kind in schema.TABLE} == {
        kind: tables.RELEASED.crc(schema.VERSION)(kind) for kind in schema.TABLE
    }


def test_a_snapshot_comes_back_as_it_was() -> None:
    for seed in range(30):
        for version, table in evolved.past_and_future(random.Random(seed)).items():
            text = snapshots.document(version, table, {"EVENT_BOOT": 1}, "1.0.0")
            found = snapshots.read(text)
            assert (found["version"], found["tables"], found["released"]) == (version, table, "1.0.0")


def test_a_released_snapshot_is_frozen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "tables"
    folder.mkdir()
    for file in snapshots.FOLDER.glob("*.json"):
        shutil.copy(file, folder)
    path = folder / f"v{schema.VERSION}.json"
    changed = {**schema.TABLE, schema.QUERY: (("what", "", 1, 1, 0, 31, None),)}
    snapshots.write(folder, tables=changed)  # nothing of it is out yet
    assert __main__.main(["snapshot", "--release", "1.0.0", "--folder", str(folder)]) == 0
    frozen = path.read_text()
    assert json.loads(frozen)["released"] == "1.0.0"
    assert __main__.main(["snapshot", "--folder", str(folder)]) == 0
    assert path.read_text() == frozen
    with pytest.raises(snapshots.SnapshotError, match="Raise schema"):
        snapshots.write(folder, tables=changed)
    with pytest.raises(snapshots.SnapshotError, match="QUERY of schema 2: its base fields must never change"):
        snapshots.write(folder, version=schema.VERSION + 1, tables=changed)
    appended = evolved.appended(random.Random(1), dict(schema.TABLE), schema.VERSION + 1)
    assert snapshots.write(folder, version=schema.VERSION + 1, tables=appended).name == f"v{schema.VERSION + 1}.json"
    path.write_text(frozen.replace('"EVENT_BOOT": 1', '"EVENT_BOOT": 99'))
    with pytest.raises(snapshots.SnapshotError, match="A name or a frozen message"):
        snapshots.write(folder)
    path.write_text(frozen.replace('"key 16 first I next 16"', '"key 16 first I next 8"'))
    with pytest.raises(snapshots.SnapshotError, match="A name or a frozen message"):
        snapshots.write(folder)
    path.write_text(frozen.replace("1073741823", "1073741822", 1))
    assert __main__.main(["snapshot", "--folder", str(folder)]) == 1
    assert "went out with Felinar 1.0.0" in capsys.readouterr().err


T = dict(schema.TABLE)
R = schema.REPORT
NEW = ("new", "", 1, 1, 0, 9, (3, 0, -1, 0, 2, -1, 0))


@pytest.mark.parametrize(
    ("versions", "words"),
    [
        ({1: T, 3: T}, "schema 2 has no snapshot"),
        ({1: T, 2: {**T, R: (*T[R], (*NEW, 2), (*NEW, 2))}}, "two fields have one name"),
        ({1: T, 2: {**T, R: (*T[R], (*NEW, 3))}}, "says that it came with schema 3"),
        ({1: T, 2: {**T, R: (*T[R], (*NEW, 2))}, 3: T}, "changed or removed"),
        ({1: T, 2: {**T, R: (*T[R], (*NEW, 2))}, 3: {**T, R: (*T[R], (*NEW, 2), ("b", *NEW[1:], 2))}}, "b is new and says"),
        ({1: T, 2: {**T, R: ((*T[R][0], 2), *T[R][1:])}}, "no base field"),
        ({1: T, 2: {**T, R: (T[R][0], (*NEW, 2), *T[R][1:])}}, "stands before base fields"),
        ({1: T, 3: {**T, R: (*T[R], (*NEW, 3), ("b", *NEW[1:], 2))}}, "stands behind fields that came later"),
        ({1: T, 2: {**T, R: (*T[R], (*NEW[:6], None, 2))}}, "needs a rule"),
        ({1: T, 2: {**T, R: (*T[R], (*NEW[:6], (19, 0, -1, 0, -1, -1, 0), 2))}}, "needs a rule"),
        ({1: T, 2: {**T, R: (*T[R], (*NEW[:6], (3, 0, 24, 64, 2, -1, 0), 2))}}, "from a field that comes after"),
        ({1: T, 2: {**T, R: (*T[R], (*NEW[:6], (3, 0, -1, 0, 2, -26, 9), 2))}}, "from a field that comes after"),
        ({1: T, 2: {**T, R: (*T[R], ("new", "", 1, 1, 9, 0, NEW[6], 2))}}, "has no range"),
        ({1: T, 2: {**T, R: (*T[R][:-1], (T[R][-1][0], "V", *T[R][-1][2:]))}}, "another unit is another name"),
        ({1: T, 2: {**T, R: (("time", "s", 1, 10, *T[R][0][4:]), *T[R][1:])}}, "time must stay in whole seconds"),
        ({1: T, 2: {**T, R: (T[R][0], *T[R][2:])}}, "up must stay"),
        ({1: T, 2: {**T, schema.ACK: (*T[schema.ACK], ("new", "", 1, 1, 0, 9, None))}}, "must never change"),
        ({1: T, 2: {k: v for k, v in T.items() if k != schema.TIME}}, "TIME is gone"),
    ],
)  # fmt: skip
def test_what_no_version_may_do(versions: dict[int, evolved.Tables], words: str) -> None:
    assert any(words in fault for fault in snapshots.lineage(versions)), snapshots.lineage(versions)


@given(st.integers(0, 1 << 48))
@settings(max_examples=120, deadline=None, derandomize=True)
def test_what_versions_may_do(seed: int) -> None:
    assert snapshots.lineage(evolved.past_and_future(random.Random(seed))) == []


def test_other_base_fields_never_have_an_earlier_ones_checksum(monkeypatch: pytest.MonkeyPatch) -> None:
    """One table in 65,536 would have: its frames would open, and be read wrongly."""
    changed = evolved.altered(random.Random(1), dict(schema.TABLE), schema.RESULT, "range")
    versions = {1: T, 2: changed, 3: changed}
    assert snapshots.lineage(versions) == []
    monkeypatch.setattr(schema, "checksum", lambda kind, tables: 1)
    assert snapshots.lineage(versions) == [
        "RESULT of schema 2 has by chance the CRC of schema 1", "RESULT of schema 3 has by chance the CRC of schema 1",
    ]  # fmt: skip
