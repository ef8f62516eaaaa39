"""Snapshots of the message table, one a released schema version, and what a new version may change of the one before."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from felinar_wire import batch, core, schema

from felinar.errors import FelinarError
from felinar.tables.history import FIXED, NAMES

FOLDER = Path(__file__).parent
_PREFIXES = ("MODE_", "REASON_", "RESULT_", "QUERY_", "CONFIG_", "RESET_", "EVENT_", "DOUBT_")
_WIDEST = 12  # the largest Rice parameter that a batch can tell
_TIMED = {schema.REPORT: ("time", "up"), schema.EVENT: ("time", "up")}


class SnapshotError(FelinarError):
    """A snapshot can't be written, or is not what it must be."""


def vocabulary() -> dict[str, int]:
    """The names that the schema gives to numbers."""
    names = {n: v for n, v in vars(schema).items() if n.startswith(_PREFIXES) and not n.endswith("_-")}
    return {name: number for name, number in names.items() if name != "CONFIG_PART"}


def frozen() -> dict[str, str]:
    """The layouts of the messages that are the same for nodes of every version, by kind."""
    return {str(kind): layout for kind, layout in core.LAYOUT.items()}


def document(version: int, tables: schema.Tables, words: Mapping[str, int], released: str | None) -> str:
    """A snapshot as JSON text, a field a line, so that differences are read easily."""
    messages = []
    for kind in sorted(tables):
        fields = ",\n".join(f"    {json.dumps(field)}" for field in tables[kind])
        crc = schema.checksum(kind, tables)
        messages.append(f'  "{NAMES[kind]}": {{"kind": {kind}, "crc": {crc}, "fields": [\n{fields}\n  ]}}')
    body = ",\n".join(messages)
    return (
        f'{{\n "version": {version},\n "released": {json.dumps(released)},\n "messages": {{\n{body}\n }},\n'
        f' "vocabulary": {json.dumps(dict(sorted(words.items())), indent=2)},\n'
        f' "frozen": {json.dumps(frozen(), indent=2)}\n}}\n'
    )


def read(text: str) -> dict[str, Any]:
    """A snapshot's `version`, `released`, `tables`, `vocabulary` and `frozen`."""
    found = json.loads(text)
    found["tables"] = {
        message["kind"]: tuple(
            (*field[:6], tuple(field[6]) if field[6] else None, *field[7:]) for field in message["fields"]
        )
        for message in found["messages"].values()
    }
    return found  # type: ignore[no-any-return]


def stored(folder: Traversable = FOLDER) -> dict[int, dict[str, Any]]:
    """Every snapshot, by version."""
    files = [file for file in folder.iterdir() if file.name.endswith(".json")]
    return {found["version"]: found for found in (read(file.read_text(encoding="utf-8")) for file in files)}


def load() -> dict[int, schema.Tables]:
    """The table of every version: the snapshots, and of this version the schema's own."""
    found = stored(resources.files("felinar.tables"))
    return {**{version: one["tables"] for version, one in found.items()}, schema.VERSION: schema.TABLE}


def unmoved(layouts: Mapping[str, str]) -> bool:
    """Whether these frozen messages are still what they were."""
    return layouts.items() <= frozen().items()


def write(
    folder: Path = FOLDER,
    *,
    version: int = schema.VERSION,
    tables: schema.Tables = schema.TABLE,
    release: str | None = None,
) -> Path:
    """Write the snapshot of this version; with `release` it goes out with that version of Felinar and is then frozen.

    Raises SnapshotError when that version has gone out already with another table, or the table breaks a rule.
    """
    known = stored(folder)
    old = known.get(version)
    if old and old["released"]:
        if old["tables"] != tables:
            raise SnapshotError(
                f"Schema {version} went out with Felinar {old['released']} and is not the table of today.",
                "Raise schema.VERSION, then take the snapshot again.",
            )
        release = old["released"]
    for one in known.values():
        if one["released"] and not (one["vocabulary"].items() <= vocabulary().items() and unmoved(one["frozen"])):
            raise SnapshotError(
                f"A name or a frozen message is not what it was in schema {one['version']}, which is released.",
                "Give it another name or kind.",
            )
    faults = lineage({**{v: one["tables"] for v, one in known.items()}, version: tables})
    if faults:
        raise SnapshotError(
            f"The table can't become schema {version}: {'; '.join(faults)}.", "CONTRIBUTING.md says how."
        )
    path = folder / f"v{version}.json"
    path.write_text(document(version, tables, vocabulary(), release), encoding="utf-8")
    return path


def lineage(tables: Mapping[int, schema.Tables]) -> list[str]:
    """What is wrong with a succession of versions, in words; nothing when each may follow the one before."""
    faults = [f"schema {v} has no snapshot" for v in range(1, max(tables)) if v not in tables]
    for version in sorted(tables):
        for kind, table in tables[version].items():
            faults += [f"{NAMES.get(kind, kind)} of schema {version}: {w}" for w in _faults(version, kind, table)]
            for older in (v for v in tables if v < version and kind in tables[v]):
                its = tables[older][kind]
                same = schema.checksum(kind, tables[older]) == schema.checksum(kind, tables[version])
                if same and its[: schema.base(its)] != table[: schema.base(table)]:
                    faults.append(
                        f"{NAMES.get(kind, kind)} of schema {version} has by chance the CRC of schema {older}"
                    )
        before = tables.get(version - 1)
        if before:
            for kind in sorted(before.keys() & tables[version].keys()):
                faults += [
                    f"{NAMES.get(kind, kind)} of schema {version}: {w}"
                    for w in _changes(version, kind, before[kind], tables[version][kind])
                ]
            faults += [
                f"{NAMES[kind]} is gone from schema {version}"
                for kind in FIXED & before.keys() - tables[version].keys()
            ]
    return faults


def _faults(version: int, kind: int, table: schema.Table) -> list[str]:
    words = []
    names = [field[0] for field in table]
    if len(set(names)) < len(names):
        words.append("two fields have one name")
    if _since(table[0]):
        return [*words, "it has no base field"]
    since = 0
    for i, field in enumerate(table):
        came = _since(field)
        if i >= schema.base(table) and came < since:
            words.append(f"{field[0]} stands behind fields that came later")
        if i < schema.base(table) and came:
            words.append(f"{field[0]} was appended, and stands before base fields")
        since = came
        if came > version or came == 1:
            words.append(f"{field[0]} says that it came with schema {came}")
        if not field[4] <= field[5]:
            words.append(f"{field[0]} has no range")
        if kind == schema.REPORT and (not field[6] or batch.usual((field,))[0] > _WIDEST):
            words.append(f"{field[0]} needs a rule, of a parameter of at most {_WIDEST} between reports, for batches")
        if field[6] and any(source >= i for source in _sources(field[6])):
            words.append(f"{field[0]} is expected from a field that comes after it")
    return words


def _since(field: schema.Field) -> int:
    """The version that an appended field came with, 0 for a base field."""
    return field[7] if len(field) == 8 else 0


def _sources(rule: schema.Rule) -> list[int]:
    history = rule[5]
    return [rule[2], history if history >= -1 else -2 - history]


def _changes(version: int, kind: int, before: schema.Table, now: schema.Table) -> list[str]:
    words = []
    old = {field[0]: field for field in before}
    for field in now:
        if field[0] in old and field[1] != old[field[0]][1]:
            words.append(f"{field[0]} has another unit than before; another unit is another name")
        if field[0] in _TIMED.get(kind, ()) and (field[0] not in old or field[:4] != old[field[0]][:4]):
            words.append(f"{field[0]} must stay in whole seconds")
    words += [f"{name} must stay" for name in _TIMED.get(kind, ()) if name not in {field[0] for field in now}]
    if before[: schema.base(before)] == now[: schema.base(now)]:
        if now[: len(before)] != before:
            words.append("an appended field was changed or removed; that is for good")
        words += [
            f"{field[0]} is new and says that it came with schema {_since(field)}"
            for field in now[len(before) :]
            if _since(field) != version
        ]
    elif kind in FIXED:
        words.append("its base fields must never change")
    return words
