"""From wire steps to physical values, and how they are written."""

from __future__ import annotations

import io
import json
from typing import Any

import msgspec
import pytest
from felinar import api, show
from felinar.readings import DOUBT, FIELDS, event, physical, reading
from felinar.store import Row, TimeSource
from felinar_wire import codec, scale, schema
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

UNIX = 1_790_000_000


def row(kind: int = schema.REPORT, version: int = schema.VERSION, **values: Any) -> Row:
    body = codec.encode(kind, [values.get(f[0]) for f in schema.fields(kind)])
    return Row(UNIX, 1, 7, 2, 3, TimeSource.NODE, version, UNIX + 1, body)


def test_values_are_in_the_schemas_units() -> None:
    steps = {
        "lux": scale.lux_step(12_300), "pm25": 84, "temp": -75, "rh": 815, "p": 10132, "leq": 561, "relay": 1,
        "dim": 60, "power": 363, "mv": 12050, "rssi": -93, "energy": 1234, "co2": 431,
    }  # fmt: skip
    shown = reading(row(**steps), "a1")
    assert (shown.node, shown.board, shown.boot, shown.seq) == (7, "a1", 2, 3)
    assert (shown.time, shown.heard, shown.time_source) == ("2026-09-21T14:13:20Z", "2026-09-21T14:13:21Z", "node")
    values = shown.values
    assert values is not None
    assert set(values) == set(FIELDS)
    expected = {
        "pm25": 8.4, "temp": -7.5, "rh": 81.5, "p": 1013.2, "leq": 56.1, "relay": 1, "dim": 60, "power": 36.3,
        "mv": 12050, "rssi": -93, "energy": 1234, "co2": 431, "pm1": None, "voc": None,
    }  # fmt: skip
    assert {key: values[key] for key in expected} == expected
    assert values["lux"] == pytest.approx(12.3, rel=0.006)


@given(st.integers(0, 200_000_000))
def test_light_comes_back_within_its_step(millilux: int) -> None:
    steps: dict[str, object] = {f[0]: None for f in schema.fields(schema.REPORT)}
    shown = physical(schema.REPORT, {**steps, "lux": scale.lux_step(millilux)})["lux"]
    lux = millilux / 1000
    assert isinstance(shown, float)
    # half a step of 1 % of (light + 0.5 lx), and what rounding to one, two or three decimals adds
    rounding = 0.0015 if shown < 10 else 0.0055 if shown < 100 else 0.0505
    assert abs(shown - lux) <= 0.00502 * (lux + 0.5) + rounding


def test_what_is_not_a_number_says_so() -> None:
    shown = reading(row(pm25=schema.OVER, temp=schema.UNDER), "a1")
    values = shown.values
    assert values is not None
    assert (values["pm25"], values["temp"], values["rh"]) == ("over", "under", None)
    assert json.loads(msgspec.json.encode(shown))["values"]["pm25"] == "over"
    out = io.StringIO()
    show.write_csv([shown], out)
    head, line = (text.split(",") for text in out.getvalue().splitlines())
    cells = dict(zip(head, line, strict=True))
    assert (cells["pm25"], cells["temp"], cells["rh"], cells["node"]) == ("over", "under", "", "7")
    console = Console(width=160, file=io.StringIO())
    console.print(show.reading_table([shown]))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert " > " in text
    assert " < " in text


def test_a_body_of_another_schema_is_shown_as_unreadable() -> None:
    shown = reading(row(version=schema.VERSION + 1), "a1")
    assert shown.values is None
    assert show.lamp(shown.values) == "-"
    assert event(row(schema.EVENT, schema.VERSION + 1), "a1").event == "unreadable"


def test_events_have_names() -> None:
    happened = event(row(schema.EVENT, code=schema.EVENT_LAMP_UNEXPECTED_ON, arg=600), "a1")
    assert (happened.event, happened.argument) == ("lamp unexpected on", 600)
    assert event(row(schema.EVENT, code=250, arg=0), "a1").event == "code 250"


def node(**more: Any) -> api.Node:
    latest = reading(row(lux=500, pm25=84, temp=75, rh=810, leq=561, relay=1, dim=60, power=363), "a1", "Unirii")
    return api.Node(
        node=7, board="a1", boards=1, last_heard="2026-09-21T14:13:20Z", online=True, stored=3, reports=3, events=0,
        duplicates=0, same_time=0, gaps=0, made=3, dropped=0, pending=0, name="Unirii", latest=latest, **more,
    )  # fmt: skip


def test_the_live_table_and_its_picture() -> None:
    console = Console(width=120, file=io.StringIO())
    console.print(show.live_table([node()], UNIX + 5))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    for word in ("7 Unirii", "8.4", "7.5", "81", "56.1", "60 %", "36.3", "5 s ago"):
        assert word in text
    picture = show.to_svg([node()], UNIX + 5)
    assert picture.startswith("<svg")
    assert "36.3" in picture


def test_an_off_lamp_and_a_plain_line() -> None:
    dark = reading(row(relay=0, dim=0, power=3), "a1")
    assert show.lamp(dark.values) == "off"
    assert show.plain_line(dark).endswith("lamp off, 0.3 W")


def test_what_its_node_doubts_is_marked_and_every_field_has_its_bit() -> None:
    values: dict[str, Any] = {"pm25": 12.34, "temp": 20.0, "doubt": 1 << schema.DOUBT_PARTICLES}
    assert show.cell(values, "pm25", 1) == "12.3?"
    assert show.cell(values, "temp", 1) == "20.0"
    assert show.cell({**values, "doubt": None}, "pm25", 1) == "12.3"
    assert set(DOUBT) == set(FIELDS) - {"up", "relay", "dim", "rssi", "doubt"}
    assert set(DOUBT.values()) == {1 << bit for bit in range(8)}
