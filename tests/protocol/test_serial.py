"""The serial line: whatever it does to the bytes, no damaged frame is delivered, and every drop is counted."""

from __future__ import annotations

import random

import pytest
from felinar_wire import WireError, serial
from hypothesis import given, settings
from hypothesis import strategies as st

MANY = settings(max_examples=400, deadline=None, derandomize=True)
DATA = st.one_of(
    st.binary(max_size=600),
    st.lists(st.sampled_from([0, 1, 255]), max_size=600).map(bytes),
    st.integers(0, 600).map(lambda n: b"\1" * n),
)
LIMIT = 600


@given(DATA)
@MANY
def test_comes_back(data: bytes) -> None:
    coded = serial.encode(data)
    assert coded.count(0) == 1
    assert coded[-1] == 0
    assert len(coded) <= serial.longest(len(data)) + 1
    assert serial.decode(coded[:-1]) == data


@pytest.mark.parametrize("size", [0, 1, 249, 250, 251, 253, 254, 255, 503, 504, 505, 508, 509])
@pytest.mark.parametrize("fill", [0, 1])
def test_comes_back_at_the_block_edges(size: int, fill: int) -> None:
    assert serial.Deframer(size).feed(serial.encode(bytes([fill]) * size)) == [bytes([fill]) * size]


@given(st.lists(DATA, max_size=6), st.lists(st.binary(max_size=40), max_size=6), st.data())
@MANY
def test_it_does_not_matter_where_the_stream_is_cut(
    frames: list[bytes], noise: list[bytes], data: st.DataObject
) -> None:
    stream = b"".join(serial.encode(frame) for frame in frames) + b"".join(noise)
    whole = serial.Deframer(LIMIT)
    found = whole.feed(stream)
    assert found[: len(frames)] == frames
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    pieces = serial.Deframer(LIMIT)
    again = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        again += pieces.feed(stream[start:end])
    assert (again, pieces.bad) == (found, whole.bad)
    bytewise = serial.Deframer(LIMIT)
    assert [frame for byte in stream for frame in bytewise.feed(bytes([byte]))] == found
    assert bytewise.bad == whole.bad


@given(st.lists(st.binary(max_size=80), max_size=30), st.integers(0, 40))
@MANY
def test_any_bytes_at_all(chunks: list[bytes], limit: int) -> None:
    deframer = serial.Deframer(limit)
    for chunk in chunks:
        for data in deframer.feed(chunk):
            assert len(data) <= limit
        assert len(deframer._held) <= serial.longest(limit), "what is held is bounded"
    assert set(deframer.bad) <= {"cobs", "short", "crc", "long"}


@pytest.mark.parametrize("fault", ["flip", "drop", "insert", "swap", "burst"])
def test_a_fault_never_delivers_a_damaged_frame(fault: str) -> None:
    rng = random.Random(fault)
    delivered = faults = 0
    for _ in range(400):
        frames = [rng.randbytes(rng.randrange(1, 120)) for _ in range(8)]
        stream = bytearray(b"".join(serial.encode(frame) for frame in frames))
        at = rng.randrange(len(stream))
        if fault == "flip":
            stream[at] ^= 1 << rng.randrange(8)
        elif fault == "drop":
            del stream[at : at + rng.randrange(1, 20)]
        elif fault == "insert":
            stream[at:at] = rng.randbytes(rng.randrange(1, 20))
        elif fault == "swap":
            stream[at : at + 2] = stream[at : at + 2][::-1]
        else:
            stream[at : at + 30] = rng.randbytes(len(stream[at : at + 30]))
        deframer = serial.Deframer(120)
        found = deframer.feed(bytes(stream) + b"\0")
        assert [frame for frame in found if frame not in frames] == []
        lost = len(frames) - len(found)
        # What the fault hit is lost; the frames on either side are not, or at most the one that it ran into.
        assert lost <= (8 if fault in ("drop", "burst") else 2)
        assert sum(deframer.bad.values()) >= (1 if lost and fault != "drop" else 0)
        delivered += len(found)
        faults += lost
    assert faults
    assert delivered > 400 * 5


def test_drops_are_counted_by_reason() -> None:
    deframer = serial.Deframer(8)
    good = serial.encode(b"12345678")
    assert deframer.feed(b"\0\0" + good + b"\5ab\0" + b"\3ab\0") == [b"12345678"]
    assert deframer.bad == {"cobs": 1, "short": 1}
    bad = bytearray(good)
    bad[3] ^= 1
    assert deframer.feed(bytes(bad) + serial.encode(b"123456789") + serial.encode(bytes(40))) == []
    assert deframer.bad == {"cobs": 1, "short": 1, "crc": 1, "long": 2}
    assert deframer.feed(b"x" * 10_000 + b"\0" + good) == [b"12345678"], "after a flood it finds the next frame"
    assert deframer.bad["long"] == 3


@pytest.mark.parametrize("coded", [b"", b"\0", b"\2", b"\3a", b"\1\1\1\0", b"\5abc\0"])
def test_bad_coding_is_refused(coded: bytes) -> None:
    with pytest.raises(WireError):
        serial.decode(coded)
