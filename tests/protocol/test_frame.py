"""Headers and identities: limits, and that any bytes give a frame or the one exception."""

from __future__ import annotations

import pytest
from felinar_wire import WireError, frame, kept, scale, schema
from hypothesis import given, settings
from hypothesis import strategies as st

MANY = settings(max_examples=500, deadline=None, derandomize=True)
U16 = st.integers(0, 65535)
SEQ = st.integers(0, (1 << 30) - 1)


@given(st.integers(0, 63), U16, st.integers(0, 1 << 32), st.binary(max_size=250), st.integers(0, 3))
@MANY
def test_frame_comes_back(kind: int, address: int, counter: int, payload: bytes, version: int) -> None:
    data = frame.pack(kind, address, counter, payload, version)
    assert len(data) == frame.HEADER + len(payload) <= frame.LONGEST
    assert frame.unpack(data, version) == (kind, address, counter & 0xFFFF, payload)
    with pytest.raises(WireError, match="version"):
        frame.unpack(data, version ^ 1)


@given(st.binary(max_size=260), st.integers(0, 3))
@MANY
def test_any_bytes_are_a_frame_or_refused(data: bytes, version: int) -> None:
    try:
        kind, address, counter, payload = frame.unpack(data, version)
    except WireError:
        return
    assert frame.pack(kind, address, counter, payload, version) == data


def test_frame_limits() -> None:
    assert len(frame.pack(0, 0, 0, bytes(250))) == 255
    for arguments in ((0, 0, 0, bytes(251)), (64, 0, 0, b""), (-1, 0, 0, b""), (0, 65536, 0, b""), (0, -1, 0, b"")):
        with pytest.raises(WireError):
            frame.pack(*arguments)
    with pytest.raises(WireError, match="long"):
        frame.unpack(bytes(256))
    with pytest.raises(WireError, match="short"):
        frame.unpack(bytes(4))


def test_a_kind_is_its_class_and_its_tag() -> None:
    assert frame.tag_length(schema.REPORT) == frame.tag_length(schema.HEALTH) == 4
    assert frame.tag_length(schema.LAMP_SET) == frame.tag_length(schema.ACK) == frame.tag_length(schema.HELLO) == 8
    assert all(kind < 64 for kind in schema.TABLE)


@given(U16, SEQ, U16, st.binary(max_size=40), SEQ, st.integers(0, 15))
@MANY
def test_identity_comes_back(boot: int, seq: int, session: int, body: bytes, expect: int, lag: int) -> None:
    payload = kept.pack(boot, seq, session, body, expect, lag)
    assert kept.unpack_lag(payload, session, expect) == (boot, seq, lag, body)
    if lag:
        with pytest.raises(WireError, match="form"):
            kept.unpack(payload, session, expect)
    else:
        assert kept.unpack(payload, session, expect) == (boot, seq, body)


@given(U16, SEQ, st.integers(-40_000, 40_000), st.integers(0, 15))
@MANY
def test_identity_near_the_expected_one_is_short(boot: int, seq: int, ahead: int, lag: int) -> None:
    expect = max(0, seq + ahead)
    payload = kept.pack(boot, seq, boot, b"", expect, lag)
    assert len(payload) == (1 if 0 <= expect - seq < 14 else 3 if -32768 <= expect - seq < 32768 else 7)
    assert kept.unpack_lag(payload, boot, expect) == (boot, seq, lag, b"")


@given(st.binary(max_size=9), U16, st.integers(0, 1 << 31))
@MANY
def test_any_bytes_are_an_identity_or_refused(payload: bytes, session: int, expect: int) -> None:
    try:
        boot, seq, lag, body = kept.unpack_lag(payload, session, expect)
    except WireError:
        return
    assert kept.pack(boot, seq, session, body, expect, lag) == payload


@pytest.mark.parametrize("arguments", [(-1, 0, 0), (65536, 0, 0), (0, -1, 0), (0, 1 << 30, 0)])
def test_identity_limits(arguments: tuple[int, int, int]) -> None:
    with pytest.raises(WireError, match="range"):
        kept.pack(*arguments, b"")
    with pytest.raises(WireError, match="range"):
        kept.pack(0, 0, 0, b"", 0, 16)


def test_a_counter_that_follows_the_reports_makes_identities_short() -> None:
    counter = 0
    for seq in range(3000):  # one new report and up to three old ones a slot, and a HEALTH every third
        counter = max(counter + 1, 4 * seq)
        assert len(kept.pack(1, seq, 1, b"", kept.expected(counter))) == 1
        for old in range(max(0, seq - 3), seq) if seq % 3 else ():
            counter += 1
            assert len(kept.pack(1, old, 1, b"", kept.expected(counter))) == 1
        counter += not seq % 3


def test_light_has_steps_of_one_percent() -> None:
    assert scale.lux_step(0) == scale.lux_step(-5) == 0
    assert scale.lux_step(200_000_000) == 1296
    assert scale.millilux(0) == 0
    steps = [scale.millilux(step) for step in range(1301)]
    for step in range(1, 1301):
        assert steps[step] >= steps[step - 1] + 5
        assert scale.lux_step(steps[step]) == step


@given(st.integers(0, 200_000_000))
@MANY
def test_light_comes_back_within_half_a_step(millilux: int) -> None:
    back = scale.millilux(scale.lux_step(millilux))
    assert abs(back - millilux) <= (millilux + 500) * 0.00502 + 1
