"""docs/protocol.md is made from the tables, is up to date, and can't be made from prose that does not fit them."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from felinar_docs import DocsError, __main__, messages, page, prose, trace, words
from felinar_wire import batch, codec, schema

from tests.protocol import messages as random_messages
from tests.protocol.make_vectors import PLAIN


def test_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "felinar_docs", "--check"], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_stale_is_told_and_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "docs" / "protocol.md"
    target.parent.mkdir()
    target.write_text("old")
    assert __main__.main(["--check"], tmp_path) == 1
    assert capsys.readouterr().err == "docs/protocol.md is not up to date: run `make docs`\n"
    assert target.read_text() == "old"
    assert __main__.main([], tmp_path) == 0
    assert target.read_text() == page.protocol()
    assert __main__.main(["--check"], tmp_path) == 0


def without(fields: dict[str, str], name: str) -> dict[str, str]:
    return {key: text for key, text in fields.items() if key != name}


ACK = prose.MESSAGES["ACK"]
HEARTBEAT = prose.BRIDGE[6]


@pytest.mark.parametrize(
    ("where", "key", "value", "says"),
    [
        (prose.MESSAGES, "ACK", None, "prose.py has no message for kind 0x15."),
        (prose.MESSAGES, "NAK", ACK, "prose.py speaks of NAK, which is no message any more."),
        (prose.MESSAGES, "ACK", replace(ACK, fields=without(ACK.fields, "base")), "prose.py says nothing of field base of ACK."),
        (prose.MESSAGES, "ACK", replace(ACK, fields=ACK.fields | {"old": ""}), "prose.py speaks of field old of ACK, which is gone."),
        (prose.BRIDGE, 6, None, "prose.py has nothing of serial type 6."),
        (prose.BRIDGE, 70, HEARTBEAT, "prose.py speaks of serial type 70, which is gone."),
        (prose.BRIDGE, 6, replace(HEARTBEAT, fields=without(HEARTBEAT.fields, "at")), "prose.py says nothing of field at of serial type 6."),
        (prose.EXAMPLES, "ACK", (1, 2), "The example of ACK in prose.py has 2 values, and there are 3 fields."),
        (words.VOCABULARIES, "MODE_", ("x", {"AUTO": "", "ON": "", "OFF": ""}), "words.py says nothing of MODE_DIM."),
        (words.VOCABULARIES, "MODE_", ("x", {"BLINK": ""}), "words.py speaks of MODE_BLINK, which is gone."),
        (words.REASONS, "cobs", None, "words.py says nothing of the reason cobs."),
        (words.REASONS, "moon", "", "words.py speaks of the reason moon, which is gone."),
    ],
)  # fmt: skip
def test_prose_must_fit(
    monkeypatch: pytest.MonkeyPatch, where: dict[Any, Any], key: Any, value: Any, says: str
) -> None:
    if value is None:
        monkeypatch.delitem(where, key)
    else:
        monkeypatch.setitem(where, key, value)
    with pytest.raises(DocsError) as told:
        page.protocol()
    assert str(told.value) == says


def test_every_message_stands_there() -> None:
    text = page.protocol()
    for name in messages.kinds():
        assert f"\n### {name}\n" in text
    for kind in schema.TABLE:
        assert str(schema.crc(kind)) in text


def test_every_field_of_a_report_has_a_rule() -> None:
    """The page says so, and a batch, which has a parameter for each column, needs it."""
    assert all(of[6] for of in schema.fields(schema.REPORT))


def test_a_new_field_needs_prose(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "_crcs", {})
    table = schema.TABLE[schema.ACK]
    monkeypatch.setitem(schema.TABLE, schema.ACK, (*table, ("more", "", 1, 1, 0, 1, None)))
    with pytest.raises(DocsError, match="says nothing of field more of ACK"):
        page.protocol()


def test_an_appended_field_has_its_version_and_its_section(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "_crcs", {})
    more = ("more", "s", 1, 10, 0, 100, (2, 40, -1, 0, -3, -1, 0), 7)
    for kind, name in ((schema.ACK, "ACK"), (schema.REPORT, "REPORT")):
        monkeypatch.setitem(schema.TABLE, kind, (*schema.TABLE[kind], more))
        monkeypatch.setitem(prose.EXAMPLES, name, (*prose.EXAMPLES[name], 38))
        about = prose.MESSAGES[name]
        monkeypatch.setitem(prose.MESSAGES, name, replace(about, fields=about.fields | {"more": "more of it"}))
    text = page.protocol()
    section = text[text.index("### ACK") : text.index("### TIME_REQ")]
    assert "| 3 | `more` | 0.1 s | 0 to 100 | 0.0 to 10.0 s | k 2: 40 | steady, k 1: old | 7 | more of it |" in section
    assert "| `0 11` | `more` | expected 40, d = 3 (-2): 38, 3.8 s |" in section
    assert f"CRC {schema.crc(schema.ACK)} " in section
    tables = dict(re.findall(r"With the appended fields:\n\n    \((\d+), (.*)\)\n", text))
    assert ast.literal_eval(tables[str(schema.ACK)]) == schema.TABLE[schema.ACK]
    assert ast.literal_eval(tables[str(schema.REPORT)]) == schema.TABLE[schema.REPORT]


def test_examples_are_read_as_the_codec_reads() -> None:
    """The reader behind the page's examples, over bodies that the page does not show."""
    rows = [(1, PLAIN), (2, [*PLAIN[:2], None, *PLAIN[3:]]), (300 - 44, [*PLAIN[:12], "over", *PLAIN[13:]])]
    body = batch.encode(rows)
    assert trace.batch(body, 1)[1] == rows
    for kind in random_messages.KINDS:
        low = [field[4] for field in schema.fields(kind)]
        high = [field[5] for field in schema.fields(kind)]
        for values in (low, high, [None] * len(low)):
            assert trace.message(kind, codec.encode(kind, values))[1] == values
        for lag in (1, 3):
            body = codec.encode(schema.REPORT, PLAIN, rows[2][1], lag)
            assert trace.message(schema.REPORT, body, rows[2][1], lag)[1] == PLAIN
    with pytest.raises(DocsError, match="ends within a value"):
        trace.message(schema.ACK, b"\0")
