"""What the monitor makes of a line: pure, with sealed frames of the protocol's own code."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from felinar.care.decode import Decoder, Entry
from felinar.care.monitor import Order, Talker, totals, words
from felinar.care.unseal import Unsealer
from felinar.keys import Keyring, SqliteKeyStore
from felinar.tables import RELEASED
from felinar_wire import codec, core, frame, join, kept, schema, serial
from felinar_wire.session import Session

UNIX = 1_790_000_000
SECONDS = UNIX - schema.EPOCH_UNIX
HELLO = [schema.VERSION, 0xA1B2, 0xC3D4, 1, 3, 0, 1, 0, schema.RESET_POWER, 0, 77, 1, 4]


def line(content: bytes) -> bytes:
    return b"\0" + bytes(serial.encode(content))


def said(kind: int, payload: bytes, *, node: int = 7, counter: int = 1) -> bytes:
    return line(b"\0" + frame.pack(kind, node, counter, payload))


def report(**values: int) -> bytes:
    names = [field[0] for field in schema.fields(schema.REPORT)]
    return codec.encode(schema.REPORT, [values.get(name) for name in names])


STREAM = (
    b"rst:0x1 (POWERON_RESET)\r\nMPY: soft reboot\r\n"
    + said(schema.HELLO, codec.encode(schema.HELLO, HELLO))
    + said(schema.EVENT, kept.pack(3, 1, 3, codec.encode(schema.EVENT, [None, 2, schema.EVENT_BOOT, 1])))
    + said(schema.REPORT, kept.pack(3, 2, 3, report(time=SECONDS, up=300, temp=213, power=402, relay=1, dim=60)))
    + b"a traceback\r\n"
    + said(schema.REPORT, kept.pack(3, 2, 3, report(time=SECONDS, up=300, temp=213, power=402, relay=1, dim=60)))
    + said(schema.RESULT, codec.encode(schema.RESULT, [9, schema.RESULT_REFUSED, 100, 1]))
)


def decoded(data: bytes, cuts: list[int]) -> tuple[list[Entry], Decoder]:
    decoder = Decoder()
    found = []
    for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
        found += decoder.take(data[start:end])
    return found + decoder.end(), decoder


def test_frames_log_and_what_was_repeated() -> None:
    entries, decoder = decoded(STREAM, [])
    assert [words(entry) for entry in entries] == [
        "| rst:0x1 (POWERON_RESET)",
        "| MPY: soft reboot",
        "< HELLO 7  uid a1b2c3d40001, firmware 0.1.0, schema 1, boot 3, reset power, clock 0, nonce 77, first 1, last 4",
        "< EVENT 7  boot 3, seq 1, up 2 s, code boot, arg 1",
        "< REPORT 7  boot 3, seq 2, time 2026-09-21T14:13:20Z, up 300 s, temp 21.3 °C, relay 1, dim 60 %, power 40.2 W",
        "| a traceback",
        "< REPORT 7  boot 3, seq 2, time 2026-09-21T14:13:20Z, up 300 s, temp 21.3 °C, relay 1, dim 60 %, power 40.2 W, (again)",
        "< RESULT 7  id 9, code refused, level 100 %, relay 1",
    ]
    assert totals(decoder) == (
        f"5 frames: 1 EVENT, 1 HELLO, 2 REPORT, 1 RESULT. 3 lines of text, 0 spoiled, {len(STREAM)} bytes."
    )


def test_however_it_is_cut_it_is_the_same() -> None:
    whole, _ = decoded(STREAM, [])
    dice = random.Random(3)
    for _ in range(60):
        cuts = sorted(dice.sample(range(1, len(STREAM)), dice.randrange(1, 40)))
        found, _ = decoded(STREAM, cuts)
        assert [e for e in found if e.what != "text"] == [e for e in whole if e.what != "text"]
        assert "".join(e.text for e in found) == "".join(e.text for e in whole)


def test_what_is_spoiled_is_counted_by_reason_and_spoils_nothing_else() -> None:
    good = said(schema.HELLO, codec.encode(schema.HELLO, HELLO))
    broken = bytearray(said(schema.RESULT, b"12345678"))
    broken[6] ^= 0x40
    noise = bytes(range(128, 256)) + b"\x01\x02"
    front = good + bytes(broken) + noise + good + line(b"\x63type")
    entries, decoder = decoded(front + b"\x02" * 6000 + good, [90, len(front) + 5000])
    assert [entry.kind for entry in entries if entry.what == "frame"] == ["HELLO"] * 3
    assert sum(decoder.bad.values()) == len([entry for entry in entries if entry.what == "bad"]) >= 4
    assert decoder.bad["type"] == 1
    assert decoder.bad["long"] == 1, "what never ends is not held"


@pytest.mark.parametrize("seed", range(3))
def test_no_bytes_whatever_stop_it(seed: int) -> None:
    dice = random.Random(seed)
    decoder = Decoder()
    for _ in range(400):
        content = dice.randbytes(dice.randrange(1, 40))
        if dice.random() < 0.7:
            content = bytes((dice.randrange(12),)) + bytes((dice.randrange(128),)) + content
        for entry in decoder.take(line(content)):
            words(entry)
    assert decoder.counts["frames"] > 300


def test_keys_are_never_shown() -> None:
    key = bytes(range(16))
    rekey = core.encode(core.LAYOUT[schema.REKEY], [5, 0, key])
    part = core.encode(core.LAYOUT[schema.CONFIG_PART], [5, 0, 40, 1, b'{"address": 7'])
    entries = Decoder().out(said(schema.REKEY, rekey) + said(schema.CONFIG_PART, part))
    assert [words(entry) for entry in entries] == [
        "> REKEY 7  id 5, address 0, (key not shown)",
        "> CONFIG_PART 7  id 5, offset 0, total 40, crc 1, bytes 13",
    ]
    assert key.hex() not in repr(entries)


def test_a_newer_node_is_told_as_such() -> None:
    newer = [schema.VERSION + 1, *HELLO[1:]]
    data = said(schema.HELLO, codec.encode(schema.HELLO, newer)) + said(schema.RESULT, b"\1\2\3\4\5\6")
    entries, decoder = decoded(data, [])
    assert "newer than this host" in entries[0].note
    assert f"of schema {schema.VERSION + 1}" in entries[1].note
    assert decoder.bad == {}


# Sealed


def test_a_bridges_line_is_opened_with_the_keys_of_the_store_and_without_them_it_is_not(tmp_path: Path) -> None:
    store = SqliteKeyStore(tmp_path / "keys.db", bytes(32), create=True, now=lambda: UNIX, machine=lambda: "m")
    root = store.provision(7)
    keyring = Keyring(
        store, crc=RELEASED.crc, now=lambda: SECONDS * 1000, anchor=lambda n: bytes(16), slot=lambda a: (1, 1)
    )
    request = join.request(root, 7, 1, schema.VERSION, 3)
    answer = keyring.answer(request)
    node: Session = join.accept(answer, root, 7, 1, RELEASED.crc(schema.VERSION), {})[0]
    whole = report(time=SECONDS, up=300, temp=213)
    frames = [
        request,
        node.seal(schema.REPORT, kept.pack(3, 2, 3, whole, kept.expected(1))),
        node.seal(schema.RESULT, codec.encode(schema.RESULT, [9, 0, 60, 1])),
        node.seal(schema.REPORT, kept.pack(3, 3, 3, whole, kept.expected(3)), SECONDS // 10),  # in its slot
    ]
    heard = b"".join(
        line(bytes((core.RX,)) + core.encode(core.BRIDGE[core.RX], [5, -97, 30, 7, 868_100_000, data]))
        for data in frames
    )
    look = SqliteKeyStore(tmp_path / "keys.db", bytes(32), role="read", machine=lambda: "m")
    before = store.session(7)
    for late in (0, 10, -10):  # looking uses nothing up; the clock may be some seconds off
        keys = Unsealer(look, unix=lambda: UNIX + late)  # noqa: B023
        told = [words(entry) for entry in Decoder(keys).take(heard)]
        assert told[0] == "< RX  at 5 µs, rssi -97 dBm, snr 7.5 dB, sf 7, frequency 868100000 Hz, bytes 19"
        assert told[1].endswith("(its key is the one in the key store)")
        assert told[3] == "< REPORT 7  [opened], boot 3, seq 2, time 2026-09-21T14:13:20Z, up 300 s, temp 21.3 °C"
        assert told[5] == "< RESULT 7  [opened], id 9, code applied, level 60 %, relay 1"
        assert told[7] == "< REPORT 7  [opened], boot 3, seq 3, time 2026-09-21T14:13:20Z, up 300 s, temp 21.3 °C"
    told = [words(entry) for entry in Decoder(Unsealer(look, unix=lambda: 0)).take(heard)]
    assert told[5].startswith("< RESULT 7  [opened]") and told[7].startswith("< REPORT 7  [closed"), (
        "no clock, no slots"
    )
    assert store.session(7) == before
    command = Decoder(Unsealer(look)).out(line(b"\0" + keyring.seal(7, schema.QUERY, codec.encode(schema.QUERY, [1]))))
    assert words(command[0]) == "> QUERY 7  [opened], what health"

    closed = [words(entry) for entry in Decoder().take(heard)]
    assert closed[3].startswith("< REPORT 7  [closed: no key store]")
    store.remove(7)
    assert "no key of node 7 here" in words(Decoder(Unsealer(look)).take(heard)[3])
    store.provision(7)
    stranger = [words(entry) for entry in Decoder(Unsealer(look)).take(heard)]
    assert "NOT under the key" in stranger[1]
    assert "no session with node 7" in stranger[3]
    for secret in (root, node._send, node._receive):
        assert repr(secret) not in repr(told + closed + stranger)
    look.close()
    store.close()


# What the monitor says


def test_a_node_gets_the_time_and_a_bridge_is_kept_awake_and_a_silent_monitor_says_nothing() -> None:
    hello = Decoder().take(said(schema.HELLO, codec.encode(schema.HELLO, HELLO)))
    beat = Decoder().take(line(bytes((core.HEARTBEAT,)) + core.encode(core.BRIDGE[core.HEARTBEAT], [0] * 8)))
    talker = Talker(Order("x", hear=(868.1, 8)), unix=lambda: UNIX + 0.5)
    mouth = Decoder()
    assert [words(e) for e in mouth.out(talker.begin(0))] == ["> QUERY everyone  what hello"]
    assert [words(e) for e in mouth.out(talker.answer(hello, 0))] == [
        "> TIME 7  nonce 77, time 2026-09-21T14:13:20Z, ms 500 ms"
    ]
    assert talker.due(1) == b""
    assert [words(e) for e in mouth.out(talker.due(31))] == ["> QUERY 7  what health"]
    assert [words(e) for e in mouth.out(talker.answer(beat, 31))] == ["> LISTEN  sf 8, frequency 868100000 Hz"]
    assert [words(e) for e in mouth.out(talker.due(31))] == ["> PING  id 1"]
    assert Talker(Order("x"), unix=lambda: 86400.0).answer(hello, 0) == b"", "a clock that is not set"
    silent = Talker(Order("x", silent=True))
    assert silent.begin(0) + silent.answer(hello + beat, 0) + silent.due(99) + silent.health() == b""
