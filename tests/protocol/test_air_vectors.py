"""The vectors of the air: fresh, the same under both interpreters, and enough, with the page, for another implementation."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from felinar_docs import DocsError, constants, page

from tests.protocol import air_calls, air_vectors, independent_air, vectors
from tests.support.micropython import PROTOCOL, run

HERE = Path(__file__).parent


def test_fresh() -> None:
    assert air_vectors.FILE.read_text() == air_vectors.text(), "run python -m tests.protocol.air_vectors"


def test_cpython() -> None:
    assert vectors.check(str(air_vectors.FILE), air_calls.call) == []


def test_micropython() -> None:
    script = f"import air_calls, vectors\nfor fault in vectors.check({str(air_vectors.FILE)!r}, air_calls.call): print(fault)"
    assert run(script, path=(PROTOCOL, HERE), heap="8M") == ""


def test_the_page_is_enough() -> None:
    content = json.loads(air_vectors.FILE.read_text())
    assert content["covers"]
    assert {vector["call"] for vector in content["vectors"]} == set(independent_air.CALLS)
    assert (
        vectors.faults(
            content["vectors"],
            lambda name, args: json.loads(json.dumps(independent_air.call(name, args))),
        )
        == []
    )


def test_every_call_has_a_row() -> None:
    section = page.protocol().partition("\n## The vectors\n")[2]
    for name in independent_air.CALLS:
        assert f"\n| `{name}` |" in section


def test_constants_are_the_codes() -> None:
    assert constants.value("plan.GUARD") == "24"
    assert constants.value("radio_link._EVENT_MS", 1000) == "8"
    assert constants.value("radio_link._FIRST") == "8"
    assert constants.value("schema.EPOCH_UNIX") == "1704067200"


@pytest.mark.parametrize(
    ("name", "divisor", "says"),
    [
        ("plan.MOON", 1, "The code has no constant plan.MOON."),
        ("radio._MOON", 1, "The code has no constant radio._MOON."),
        ("moon.GUARD", 1, "The code has no constant moon.GUARD."),
        ("plan.GUARD", 1000, "plan.GUARD, which is 24, is no multiple of 1000."),
    ],
)
def test_constants_that_are_none(name: str, divisor: int, says: str) -> None:
    with pytest.raises(DocsError) as told:
        constants.value(name, divisor)
    assert str(told.value) == says
