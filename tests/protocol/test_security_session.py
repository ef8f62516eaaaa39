"""Sessions: windows, counters, what each refusal is called, schema versions that differ."""

from __future__ import annotations

from pathlib import Path

import pytest
from felinar_wire import WireError, join
from felinar_wire.session import Session

from tests.protocol.security_helpers import HEALTH, LAMP_SET, REPORT, RESULT, Host, Node, Nvs, crc


def ends() -> tuple[Session, Session]:
    up, down = join.keys(bytes(16), 5, 1, bytes(7))
    return Session(5, up, down, crc(1), {}), Session(5, down, up, crc(1), {})


def test_overhead_is_nine_and_thirteen_bytes() -> None:
    node, _ = ends()
    assert len(node.seal(REPORT, b"")) == 9
    assert len(node.seal(LAMP_SET, b"")) == 13
    assert len(node.seal(REPORT, bytes(246))) == 255
    with pytest.raises(WireError, match="long"):
        node.seal(REPORT, bytes(247))
    with pytest.raises(WireError, match="long"):
        node.seal(LAMP_SET, bytes(243))
    assert node.sent == 3


def test_window_is_64_frames() -> None:
    node, host = ends()
    frames = [node.seal(REPORT, bytes([i])) for i in range(200)]
    host.open(frames[100])
    for i in range(37, 101):  # the newest and the 63 before it
        if i == 100:
            with pytest.raises(WireError, match="replay"):
                host.open(frames[i])
        else:
            assert host.open(frames[i]) == (REPORT, i + 1, bytes([i]))
    with pytest.raises(WireError, match="old"):
        host.open(frames[36])
    host.open(frames[199])
    for i in range(136):
        with pytest.raises(WireError, match="old"):
            host.open(frames[i])
    assert host.counts == {"replay": 1, "old": 137}
    assert host.seen < 1 << 64


def test_counters_cross_16_bits_and_long_silences() -> None:
    node, host = ends()
    for sent in (0xFFFE, 0x1FFFF, 0x1FFFF + 32000, 0xFFFFFFF0):
        node.sent = sent
        host.top = max(0, sent - 32000)
        data = node.seal(REPORT, b"x")
        assert host.open(data) == (REPORT, sent + 1, b"x")
    node.sent = 0xFFFFFFFE
    host.open(node.seal(REPORT, b"last"))
    with pytest.raises(WireError, match="spent"):
        node.seal(REPORT, b"")


def test_each_refusal_is_counted() -> None:
    node, host = ends()
    data = node.seal(REPORT, b"abc")
    long = bytes(256)
    refusals = {
        "short": data[:8],
        "long": long,
        "version": bytes([data[0] & 63]) + data[1:],
        "kind": bytes([0x79]) + data[1:] + bytes(8),
        "address": data[:2] + b"\x06" + data[3:],
        "tag": data[:-1] + bytes([data[-1] ^ 1]),
    }
    for reason, bad in refusals.items():
        with pytest.raises(WireError, match=reason):
            host.open(bad)
    assert host.counts == dict.fromkeys(refusals, 1)
    assert host.open(data)[2] == b"abc"


def test_a_refused_frame_leaves_the_window_alone() -> None:
    node, host = ends()
    data = node.seal(REPORT, b"abc")
    node.sent = 5000
    far = node.seal(REPORT, b"")
    with pytest.raises(WireError, match="tag"):
        host.open(far[:-1] + bytes([far[-1] ^ 1]))
    assert host.top == 0
    assert host.open(data)[1] == 1


N = 9_158_400


def test_what_was_sealed_for_a_slot_opens_as_of_that_slot_alone() -> None:
    node, host = ends()
    slotted, loose = node.seal(REPORT, b"in a slot", N), node.seal(REPORT, b"in contention")
    others = (0, 1, N - 30, N - 1, N + 1, N + 30, N ^ 1 << 31)
    for n in others:
        with pytest.raises(WireError, match="tag"):
            host.open(slotted, n)
    for n in (1, N, N + 30):
        with pytest.raises(WireError, match="tag"):
            host.open(loose, n)
    assert (host.top, host.seen) == (0, -1), "what was refused uses no counter up"
    assert host.open(slotted, N) == (REPORT, 1, b"in a slot")
    assert host.open(loose) == (REPORT, 2, b"in contention")
    for n in (0, N):
        with pytest.raises(WireError, match="replay"):
            host.open(slotted, n)
    assert host.counts == {"tag": len(others) + 3, "replay": 2}
    # What acts has its slots too, should it ever be sent in one.
    assert host.open(node.seal(RESULT, b"", N), N)[0] == RESULT


def test_the_host_opens_what_was_sealed_for_the_slot_or_for_none_and_tells_which(tmp_path: Path) -> None:
    host = Host(tmp_path)
    node = Node(5, host.store.provision(5))
    node.accept(host.keyring.answer(node.boot()))
    session = node.session
    assert session
    frames = [session.seal(REPORT, b"kept", n) for n in (N, 0, N - 30, N, 0, N)]
    ring = host.keyring

    def opened(data: bytes, n: int) -> str | int:
        try:
            return ring.open(data, n).interval
        except WireError as error:
            return error.reason

    assert opened(frames[0], N) == N
    assert opened(frames[1], N) == 0, "in a slot and not of it: two tries, and nothing is refused"
    assert ring.counts == {} and ring.refused.get(5, {}) == {}
    assert opened(frames[2], N) == "tag"
    assert ring.counts == {"tag": 1} and ring.refused[5] == {"tag": 1}, "two tries, and counted once"
    assert opened(frames[3], 0) == "tag"
    assert opened(frames[4], 0) == 0
    # A frame with a counter above them is no reason to take one that was refused for seen.
    assert opened(frames[2], N - 30) == N - 30
    assert opened(frames[3], N) == N
    assert [opened(data, N) for data in frames[:5]] == ["replay"] * 5
    assert opened(frames[5][:-1] + bytes((frames[5][-1] ^ 1,)), N) == "tag"
    assert opened(frames[5], N) == N
    assert ring.counts == {"tag": 3, "replay": 5} == ring.refused[5]
    assert ring._live[5][0].top == 6
    ring.commit()
    assert host.store.session(5).seen & 0b111111 == 0b111111  # type: ignore[union-attr]


def test_schema_versions(tmp_path: Path) -> None:
    """The host seals to the version that the node announced; another table fails closed, and a newer one is named."""
    host = Host(tmp_path)
    old, new = Node(1, host.store.provision(1), version=1), Node(2, host.store.provision(2), version=2)
    for node in (old, new):
        node.accept(host.keyring.answer(node.boot()))
        assert host.open(node.seal(REPORT, b"x")).schema == node.version
        assert node.open(host.keyring.seal(node.address, LAMP_SET, b"x"))[2] == b"x"
    lying = Node(3, host.store.provision(3), version=1)
    lying.accept(host.keyring.answer(lying.boot()))
    up, down = join.keys(lying.root, 3, lying.counter, host.store.session(3).answer[5:12])  # type: ignore[union-attr]
    lying.session = Session(3, up, down, crc(2), {})
    with pytest.raises(WireError, match="tag"):
        host.open(lying.seal(REPORT, b"x"))
    newer = Node(4, host.store.provision(4), version=3)
    with pytest.raises(WireError, match="schema"):
        host.keyring.answer(newer.boot())
    assert host.keyring.counts == {"tag": 1, "schema": 1}


def test_join_refusals(tmp_path: Path) -> None:
    host = Host(tmp_path)
    node = Node(5, host.store.provision(5))
    first = node.boot()
    answer = host.keyring.answer(first)
    time, slot, slot_map, key = node.accept(answer)
    assert abs(time / 1000 + 1704067200 - host.time) < 0.004
    assert (slot, slot_map) == (5, 3)
    assert key == host.broadcast.anchor(time // 10000)
    assert len(first) == 19
    assert len(answer) == 39  # one LoRa symbol block below 40: at SF9 as long on air as 37
    second = node.boot()
    other = host.keyring.answer(second)
    for bad, reason in (
        (first, "join_old"),
        (second[:-1] + b"\0", "tag"),
        (second[:5] + b"\1" + second[6:], "tag"),
        (second[:18], "short"),
        (bytes([second[0] & 63]) + second[1:], "version"),
        (bytes([0x71]) + second[1:], "kind"),
        (second[:2] + b"\x06" + second[3:], "address"),
    ):
        with pytest.raises(WireError, match=reason):
            host.keyring.answer(bad)
    for bad, reason in (
        (answer, "counter"),
        (other[:-1], "short"),
        (other + b"\0", "short"),
        (bytes([0x70]) + other[1:], "kind"),
        (bytes([0x31]) + other[1:], "version"),
        (other[:2] + b"\x06" + other[3:], "address"),
        (other[:5] + bytes([other[5] ^ 1]) + other[6:], "tag"),
        (other[:11] + bytes([other[11] ^ 1]) + other[12:], "tag"),
        (other[:20] + bytes([other[20] ^ 1]) + other[21:], "tag"),
    ):
        with pytest.raises(WireError, match=reason):
            node.accept(bad)
    node.accept(other)
    assert node.counts == {"counter": 1, "short": 2, "kind": 1, "version": 1, "address": 1, "tag": 3}
    host.open(node.seal(REPORT, b""))


def test_a_million_boots_and_no_more_than_the_counter_holds() -> None:
    root = bytes(16)
    nvs = Nvs(0x12345)
    counter = join.reserve(nvs.read, nvs.write)
    assert counter == 0x12346
    request = join.request(root, 5, counter, 1, 9)
    assert request[3:7] == b"\x23\x46\x00\x01"
    nvs.value = 0x7FFFFFFF
    with pytest.raises(WireError, match="spent"):
        join.reserve(nvs.read, nvs.write)
    with pytest.raises(WireError, match="storage"):
        join.reserve(lambda: 7, lambda value: None)


def test_a_session_ends_with_the_next_join(tmp_path: Path) -> None:
    host = Host(tmp_path)
    node = Node(5, host.store.provision(5))
    node.accept(host.keyring.answer(node.boot()))
    late = node.seal(HEALTH, b"late")
    node.accept(host.keyring.answer(node.boot()))
    with pytest.raises(WireError, match="tag"):
        host.open(late)
    with pytest.raises(WireError, match="kind"):
        host.keyring.open(node.boot())
