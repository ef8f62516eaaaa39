"""Sources folded for a node: same messages, same bytes, same lines, without the vocabulary."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from felinar_build import app, modules
from felinar_build.fold import SCHEMA, constants, fold, fold_file
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


def test_the_folded_table_is_the_table() -> None:
    found: dict[str, object] = {}
    exec(compile(fold_file(PROTOCOL / SCHEMA, SCHEMA), SCHEMA, "exec"), found)
    assert found["TABLE"] == schema.TABLE
    assert not set(constants()) & set(found)


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
