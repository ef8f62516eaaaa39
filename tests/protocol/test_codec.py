"""Messages to bits and back: what was said arrives, and nothing else is understood."""

from __future__ import annotations

import random
from typing import Any

import pytest
from felinar import wire_batch
from felinar_wire import WireError, batch, codec, schema
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.protocol import messages

KIND = st.sampled_from(messages.KINDS)
SEED = st.integers(0, 1 << 48)
MANY = settings(max_examples=400, deadline=None, derandomize=True)
FEW = settings(MANY, max_examples=100)  # where each value is drawn by itself


@st.composite
def any_values(draw: st.DrawFn, kind: int) -> messages.Values:
    special = st.sampled_from([None, schema.UNDER, schema.OVER])
    return [draw(special | st.integers(f[4] - 2, f[5] + 2)) for f in schema.fields(kind)]


@given(st.data(), KIND)
@FEW
def test_whole_comes_back(data: st.DataObject, kind: int) -> None:
    values = data.draw(any_values(kind))
    assert codec.decode(kind, codec.encode(kind, values)) == messages.seen(kind, values)


@given(st.data(), st.integers(1, 15))
@FEW
def test_difference_comes_back(data: st.DataObject, lag: int) -> None:
    old, new = data.draw(any_values(schema.REPORT)), data.draw(any_values(schema.REPORT))
    held = messages.seen(schema.REPORT, old)
    body = codec.encode(schema.REPORT, new, old, lag)
    assert codec.decode(schema.REPORT, body, held, lag) == messages.seen(schema.REPORT, new)


@given(SEED, KIND, st.integers(1, 15))
@MANY
def test_difference_of_neighbours_comes_back(seed: int, kind: int, lag: int) -> None:
    rng = random.Random(seed)
    old = messages.values(rng, kind)
    new = messages.later(rng, kind, old) if len(old) > 1 else messages.values(rng, kind)
    held = codec.decode(kind, codec.encode(kind, old))
    body = codec.encode(kind, new, old, lag)
    assert body == codec.encode(kind, new, held, lag), (
        "the sender's own values and those that the host holds must agree"
    )
    assert codec.decode(kind, body, held, lag) == messages.seen(kind, new)


@given(SEED, st.integers(1, 40))
@MANY
def test_batch_comes_back(seed: int, count: int) -> None:
    rows = messages.rows(random.Random(seed), count)
    body = batch.encode(rows)
    assert wire_batch.decode(body, rows[0][0]) == [(seq, messages.seen(schema.REPORT, row)) for seq, row in rows]


def test_batch_of_255() -> None:
    rows = messages.rows(random.Random(5), 255)
    assert len(wire_batch.decode(batch.encode(rows), rows[0][0])) == 255


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([], "count"),
        ([(i, [None] * 24) for i in range(256)], "count"),
        ([(1, [None] * 24), (1, [None] * 24)], "order"),
        ([(2, [None] * 24), (1, [None] * 24)], "order"),
        ([(1, [None] * 24), (258, [None] * 24)], "order"),
        ([(1, [None] * 22)], "values"),
        ([(1, [0.5] * 24)], "type"),
    ],
)
def test_bad_batch_is_refused(rows: list[tuple[int, messages.Values]], reason: str) -> None:
    with pytest.raises(WireError) as caught:
        batch.encode(rows)
    assert caught.value.reason == reason


@given(st.binary(max_size=80), KIND)
@settings(MANY, max_examples=800)
def test_any_bytes_are_a_message_or_refused(body: bytes, kind: int) -> None:
    try:
        values = codec.decode(kind, body)
    except WireError:
        return
    assert codec.encode(kind, values) == body, "a message has one coding only"


@given(st.binary(max_size=80), SEED, st.integers(1, 15))
@settings(MANY, max_examples=800)
def test_any_bytes_are_a_difference_or_refused(body: bytes, seed: int, lag: int) -> None:
    old = messages.seen(schema.REPORT, messages.values(random.Random(seed), schema.REPORT))
    try:
        values = codec.decode(schema.REPORT, body, old, lag)
    except WireError:
        return
    assert codec.encode(schema.REPORT, values, old, lag) == body


@given(SEED, KIND, st.data())
@settings(MANY, max_examples=800)
def test_a_damaged_body_is_a_message_or_refused(seed: int, kind: int, data: st.DataObject) -> None:
    body = bytearray(codec.encode(kind, messages.values(random.Random(seed), kind)))
    bit = data.draw(st.integers(0, len(body) * 8 - 1))
    body[bit >> 3] ^= 1 << (bit & 7)
    try:
        values = codec.decode(kind, bytes(body))
    except WireError:
        return
    assert codec.encode(kind, values) == body


@given(st.binary(max_size=120), st.integers(0, 1 << 20))
@settings(MANY, max_examples=800)
def test_any_bytes_are_a_batch_or_refused(body: bytes, seq: int) -> None:
    try:
        rows = wire_batch.decode(body, seq)
    except WireError:
        return
    assert wire_batch.decode(batch.encode(rows), seq) == rows


@given(SEED, st.integers(1, 6), st.data())
@settings(MANY, max_examples=500)
def test_a_damaged_batch_is_a_batch_or_refused(seed: int, count: int, data: st.DataObject) -> None:
    rows = messages.rows(random.Random(seed), count)
    body = bytearray(batch.encode(rows))
    bit = data.draw(st.integers(0, len(body) * 8 - 1))
    body[bit >> 3] ^= 1 << (bit & 7)
    try:
        found = wire_batch.decode(bytes(body), rows[0][0])
    except WireError:
        return
    assert wire_batch.decode(batch.encode(found), rows[0][0]) == found


@pytest.mark.parametrize("kind", messages.KINDS)
def test_nothing_may_be_cut_off_or_added(kind: int) -> None:
    rng = random.Random(kind)
    for _ in range(50):
        body = codec.encode(kind, messages.values(rng, kind))
        with pytest.raises(WireError, match="trailing"):
            codec.decode(kind, body + b"\0")
        with pytest.raises(WireError, match="short"):
            codec.decode(kind, body[:-1])
        assert codec.decode(kind, body + b"more", newer=True) == codec.decode(kind, body)


@pytest.mark.parametrize(
    ("kind", "values", "reason"),
    [
        (63, [], "kind"),
        (schema.QUERY, [], "values"),
        (schema.QUERY, [1, 2], "values"),
        (schema.QUERY, [1.0], "type"),
        (schema.QUERY, ["other"], "type"),
        (schema.QUERY, [b"\1"], "type"),
        (schema.REPORT, [0.0] * 24, "type"),
        (schema.REPORT, [1] * 23 + [float("nan")], "type"),
    ],
)
def test_what_is_no_message_is_refused(kind: int, values: messages.Values, reason: str) -> None:
    with pytest.raises(WireError) as caught:
        codec.encode(kind, values)
    assert caught.value.reason == reason


def test_a_value_beyond_its_range_is_never_a_wrong_number() -> None:
    for kind in messages.KINDS:
        for i, field in enumerate(schema.fields(kind)):
            values: messages.Values = [None] * len(schema.fields(kind))
            for given_value, wanted in (
                (field[4] - 1, schema.UNDER), (field[5] + 1, schema.OVER), (-(1 << 40), schema.UNDER),
                (1 << 40, schema.OVER), (field[4], field[4]), (field[5], field[5]), (None, None),
            ):  # fmt: skip
                values[i] = given_value
                assert codec.decode(kind, codec.encode(kind, values))[i] == wanted


@pytest.mark.parametrize("relay", [0, 1])
@pytest.mark.parametrize("rule", [None, (3, 60, -1, 0, 1, -1, 2), (3, 60, -1, 0, -4, -1, 2)])
def test_an_appended_field_tells_for_itself_whether_it_is_steady(relay: int, rule: schema.Rule | None) -> None:
    """A difference from an older report comes back, whether or not steady fields of the first ones changed."""
    appended: Any = ("more", "", 1, 1, 0, 1000, rule, 2)
    tables = {schema.REPORT: (*schema.TABLE[schema.REPORT], appended)}
    names = [field[0] for field in tables[schema.REPORT]]
    old: messages.Values = [(field[4] + field[5]) // 2 for field in tables[schema.REPORT]]
    for more in (old[-1], 700, None, schema.OVER):
        new = list(old)
        new[0], new[1] = old[0] + 300, old[1] + 300  # type: ignore[operator]
        new[names.index("relay")], new[-1] = relay, more
        body = codec.encode(schema.REPORT, new, old, 1, tables)
        assert codec.decode(schema.REPORT, body, old, 1, tables=tables) == new


def test_arithmetic_with_a_saturated_value_fails_loudly() -> None:
    saturated: object = codec.decode(schema.QUERY, codec.encode(schema.QUERY, [99]))[0]
    with pytest.raises(TypeError):
        saturated + 1  # type: ignore[operator]
    with pytest.raises(TypeError):
        saturated > 1  # type: ignore[operator]  # noqa: B015


def test_what_a_sender_holds_beyond_its_range_is_what_the_host_holds() -> None:
    old: messages.Values = [10, 10, 5000, *[300] * 21]  # lux beyond 1300: the host holds OVER
    new: messages.Values = [310, 310, 400, *[300] * 21]
    body = codec.encode(schema.REPORT, new, old, 1)
    held = codec.decode(schema.REPORT, codec.encode(schema.REPORT, old))
    assert held[2] == schema.OVER
    assert codec.decode(schema.REPORT, body, held, 1) == messages.seen(schema.REPORT, new)
