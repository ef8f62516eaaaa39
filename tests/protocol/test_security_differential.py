"""Sealed under one interpreter, opened under the other, both ways: the same bytes, the same refusals."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from felinar.keys import Broadcast
from felinar_wire import WireError, frame, join, tesla
from felinar_wire.aes import Ccm
from felinar_wire.session import nonce
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.protocol import security_worker
from tests.support.micropython import PROTOCOL, Worker

SCRIPT = Path(security_worker.__file__)
KEY = st.binary(min_size=16, max_size=16)
ADDRESS = st.integers(0, 0xFFFF)
KIND = st.sampled_from([0, 1, 2, 3, 0x10, 0x12, 0x14, 0x15, 0x17, 0x34])
MANY = settings(
    max_examples=1500, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
FEW = settings(MANY, max_examples=300)


@pytest.fixture(scope="module")
def node() -> Iterator[Worker]:
    worker = Worker(SCRIPT, path=(PROTOCOL,), heap="1M")
    yield worker
    worker.close()


@pytest.fixture(scope="module")
def here() -> Any:
    def ask(request: list[Any]) -> Any:
        try:
            return security_worker.answer(request)
        except WireError as error:
            return {"refused": error.reason}

    return ask


def h(data: bytes) -> str:
    return "=" + data.hex()


@given(
    address=ADDRESS, one=KEY, two=KEY, kind=KIND, body=st.binary(max_size=242),
    sent=st.integers(0, 0xFFFFFFFE), ahead=st.integers(-63, 32000), flip=st.none() | st.integers(0, 8 * 250),
    n=st.sampled_from([0, 1, 9_158_400, 0x3FFFFFFF]), other=st.sampled_from([0, 0, 0, 30, 1]),
)  # fmt: skip
@MANY
def test_frames(
    node: Worker,
    here: Any,
    address: int,
    one: bytes,
    two: bytes,
    kind: int,
    body: bytes,
    sent: int,
    ahead: int,
    flip: int | None,
    n: int,
    other: int,
) -> None:
    for ask in (node.ask, here):
        ask(["session", "a", address, h(one), h(two)])
        ask(["session", "b", address, h(two), h(one)])
    sealed = [ask(["seal", "a", kind, h(body), sent, n]) for ask in (node.ask, here)]
    assert sealed[0] == sealed[1]
    data = bytearray.fromhex(sealed[0])
    if flip is not None:
        data[flip // 8 % len(data)] ^= 1 << (flip & 7)
    top = max(0, sent + 1 - ahead)
    opened = [ask(["open", "b", h(bytes(data)), top, n ^ other]) for ask in (node.ask, here)]
    assert opened[0] == opened[1]
    if flip is None and not other:
        assert opened[0] == [kind, sent + 1, body.hex()]
    else:
        assert "refused" in opened[0]
    if flip is None and other:
        assert opened[0] == {"refused": "tag"}


@given(data=st.binary(max_size=300), top=st.integers(0, 0xFFFFFFFF))
@MANY
def test_any_bytes(node: Worker, here: Any, data: bytes, top: int) -> None:
    for ask in (node.ask, here):
        ask(["session", "c", 5, h(bytes(16)), h(bytes(range(16)))])
        ask(["group", 8640000, h(bytes(16)), 7, h(bytes(16))])
    for request in (
        ["open", "c", h(data), top, 0],
        ["open", "c", h(bytes((0x40, 0, 5)) + data[:200]), top, 7],
        ["accept", h(data), h(bytes(16)), 5, 9],
        ["accept", h(bytes((0x71, 0, 5, 0, 9)) + data[:34].ljust(34)), h(bytes(16)), 5, 9],
        ["receive", h(data), 86400050000, 100],
        ["receive", h(bytes((0x60, 0, 7, 5, 0)) + data[:200]), 86400050000, 100],
        ["receive", h(bytes((0x61, 0, 7, 5, 0)) + data[:200]), 86400050000, 100],
    ):
        answers = [node.ask(request), here(request)]
        assert answers[0] == answers[1]
        assert "refused" in answers[0] or request[0] == "receive"


@given(
    key=KEY, size=st.integers(7, 13), nonce=st.binary(min_size=13, max_size=13), plain=st.binary(max_size=250),
    tag=st.sampled_from([4, 6, 8, 10, 12, 14, 16]), aad=st.binary(max_size=40), data=st.binary(max_size=200),
)  # fmt: skip
@FEW
def test_primitives(
    node: Worker, here: Any, key: bytes, size: int, nonce: bytes, plain: bytes, tag: int, aad: bytes, data: bytes
) -> None:
    sealed = node.ask(["ccm", h(key), h(nonce[:size]), h(plain), tag, h(aad)])
    assert bytes.fromhex(sealed) == Ccm(key).seal(nonce[:size], plain, tag, aad)
    for request in (["cmac", h(key), h(data)], ["hmac", h(data), h(plain)], ["tesla", size, h(key), h(data)]):
        assert node.ask(request) == here(request)


@given(
    root=KEY, address=ADDRESS, counter=st.integers(1, 0x7FFFFFFF), schema=st.integers(0, 0xFFFF),
    boot=st.integers(0, 0xFFFF), host_nonce=st.binary(min_size=7, max_size=7), body=st.binary(min_size=19, max_size=19),
    flip=st.none() | st.integers(0, 39 * 8 - 1),
)  # fmt: skip
@FEW
def test_joins(
    node: Worker, here: Any, root: bytes, address: int, counter: int, schema: int, boot: int, host_nonce: bytes,
    body: bytes, flip: int | None,
) -> None:  # fmt: skip
    asked = ["request", h(root), address, counter, schema, boot]
    assert node.ask(asked) == here(asked)
    _, down = join.keys(root, address, counter, host_nonce)
    sealed = Ccm(down).seal(nonce(join.JOIN_ACC, address, counter), body, 8)
    data = bytearray(frame.pack(join.JOIN_ACC, address, counter, host_nonce + sealed, frame.SEALED))
    if flip is not None:
        data[flip // 8] ^= 1 << (flip & 7)
    request = ["accept", h(bytes(data)), h(root), address, counter]
    answers = [node.ask(request), here(request)]
    assert answers[0] == answers[1]
    assert ("refused" in answers[0]) == (flip is not None)
    if flip is None:
        assert answers[0][3] == body[3:].hex()
        again = ["seal", "joined", 0, h(body), 0, 0]
        assert node.ask(again) == here(again)


def test_a_broadcast_day(node: Worker, here: Any) -> None:
    sender = Broadcast(bytes(32), lambda address: bytes([address & 255] * 16))
    n = 1000 * tesla.DAY - 6
    start = ["group", tesla.anchor(n), h(sender.anchor(n)), 7, h(bytes([7] * 16))]
    node.ask(start)
    here(start)
    verified = 0
    for i in range(n, n + 12):
        at = i * tesla.INTERVAL + 500
        frames = [
            sender.beacon(7, at, at, 1, 40 * (i % 9), bytes((i & 255, 3))),
            sender.lamp(7, at, i & 0xFF, i % 4, 60, ttl=6),
            sender.announcement(7, at, at),
        ]
        for data in frames:
            request = ["receive", h(data), at + 40, 300]
            answers = [node.ask(request), here(request)]
            assert answers[0] == answers[1]
            verified += sum(event[0] == "verified" for event in answers[0])
    assert verified == 3 * 10
