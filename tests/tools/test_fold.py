"""Sources folded for a node: same messages, same bytes, same lines, without the vocabulary."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
from felinar_build import app, modules
from felinar_build.fold import SCHEMA, _short, constants, fold, fold_file
from felinar_wire import schema

from tests.support.micropython import PROTOCOL, ROOT, run

SOURCES = sorted([*(ROOT / "firmware").rglob("*.py"), *PROTOCOL.rglob("*.py")])


def test_names_become_numbers_and_nothing_else_changes() -> None:
    source = 'x = schema.EVENT_BOOT  # schema.EVENT_BOOT\ny = "schema.REPORT", a.schema.REPORT, schema.REPORTS, schema.fields\n'
    assert fold(source, "node/x.py") == (
        'x = 1  # schema.EVENT_BOOT\ny = "schema.REPORT", a.schema.REPORT, schema.REPORTS, schema.fields\n'
    )


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_lines_stay_where_they_are(path: Path) -> None:
    folded = fold_file(path, modules.place(path))
    assert folded.count("\n") == path.read_text().count("\n")
    names = {n.attr for n in ast.walk(ast.parse(folded)) if isinstance(n, ast.Attribute)}
    assert not names & set(constants()), "a constant that the node would not find"


def test_the_folded_table_is_the_table_but_for_units_and_names() -> None:
    found: dict[str, Any] = {}
    exec(compile(fold_file(PROTOCOL / SCHEMA, SCHEMA), SCHEMA, "exec"), found)
    assert found["TABLE"] == {
        kind: tuple((field[0] if kind == schema.REPORT else None, None, *field[2:]) for field in table)
        for kind, table in schema.TABLE.items()
    }
    assert not set(constants()) & set(found)
    for kind in (*schema.TABLE, schema.BATCH, schema.CONFIG_PART, schema.REKEY):
        assert found["crc"](kind) == schema.crc(kind)
    with pytest.raises(KeyError):
        found["crc"](63)
    plain = [field for kind, table in found["TABLE"].items() if kind != schema.REPORT for field in table]
    assert len({id(field) for field in plain}) == len(set(plain)), "equal ones are one"


def test_private_names_meet_only_where_they_are_meant_to() -> None:
    """What is one name in two modules stays one, and what may meet in one object stays apart."""
    short = _short(0)
    assert set(short.everywhere.values()).isdisjoint(name for own in short.families.values() for name in own.values())
    for names in short.families.values():
        assert len(set(names.values())) == len(names)
    assert short.families["drivers/lora.py"] == short.families["drivers/sx126x.py"], "a class and what it inherits"
    assert short.families["node/outbox.py"] != short.families["felinar_air/node.py"]
    distinct = {name for own in (short.everywhere, *short.families.values()) for name in own.values()}
    assert len(distinct) < 0.5 * len({*short.everywhere, *(n for own in short.families.values() for n in own)})


def test_the_compiled_protocol_gives_the_vectors_bytes(tmp_path: Path) -> None:
    for path in PROTOCOL.rglob("*.py"):
        app.compile_file(path, (tmp_path / modules.place(path)).with_suffix(".mpy"), "x64", modules.place(path))
    files = [str(ROOT / "tests" / "vectors" / f"{name}.json") for name in ("messages", "forms", "frames", "core")]
    for path in (ROOT / "tests" / "protocol" / "calls.py", ROOT / "host" / "felinar" / "wire_batch.py"):
        (tmp_path / path.name).write_text(fold_file(path, path.name))
    script = (
        f"import calls, vectors\nfor name in {files!r}:\n    for fault in vectors.check(name, calls.call): print(fault)"
    )
    assert run(script, path=(tmp_path, ROOT / "tests" / "protocol")) == ""
