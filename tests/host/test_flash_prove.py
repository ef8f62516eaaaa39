"""The proof of a node's key and parts, with a line and a node of the test's own, in the test's own time."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from felinar.flash.catalogue import FlashError
from felinar.flash.prove import Part, Prover
from felinar.flash.talk import Talk, uid
from felinar_wire import codec, core, frame, schema, serial
from felinar_wire.aes import cmac, derive

KEY = bytes(range(16))
MAC = "a1b2c3d40001"
UNIX = 1_790_000_000.0


@dataclass
class Node:
    """A node at the end of a line: it answers as docs/protocol.md says. Faults are attributes."""

    key: bytes | None = KEY
    address: int = 7
    mac: str = MAC
    mute: bool = False
    missing: list[str] = field(default_factory=list)
    heals_at: float = 1e9
    lamp_w: float = 60.0
    welded: bool = False
    stubborn: bool = False
    now: float = 0.0
    given: float | None = None
    relay: int = 1
    out: bytearray = field(default_factory=bytearray)
    text: bytearray = field(default_factory=bytearray)

    def __post_init__(self) -> None:
        self._deframer = serial.Deframer(frame.LONGEST + 1)
        self._typed = b""

    # The line

    def write(self, data: bytes) -> None:
        if data.endswith(b"\r") and b"\0" not in data:
            self._answer(data[:-1].decode())
            return
        for content in self._deframer.feed(data):
            kind, address, _, payload = frame.unpack(content[1:])
            if not self.mute and address in (self.address, 0xFFFF):
                self._take(kind, payload)

    def read(self, seconds: float) -> bytes:
        self.now += max(seconds, 0.01)
        data = bytes(self.out)
        self.out.clear()
        return data

    # The node

    def say(self, kind: int, payload: bytes) -> None:
        self.out += b"\0" + serial.encode(b"\0" + frame.pack(kind, self.address, 0, payload))

    def hello(self) -> None:
        words = [int(self.mac[i : i + 4], 16) for i in (0, 4, 8)]
        self.say(schema.HELLO, codec.encode(schema.HELLO, [1, *words, 3, 0, 1, 0, 1, 0, 77, 1, 4]))

    def _take(self, kind: int, payload: bytes) -> None:
        if kind == schema.QUERY:
            self.hello()
        elif kind == schema.TIME:
            nonce, seconds, _ = codec.decode(kind, payload)
            if nonce == 77:
                self.given = seconds + schema.EPOCH_UNIX
        elif kind == core.CHALLENGE and self.key is not None:
            whole = payload + bytes.fromhex(self.mac) + self.address.to_bytes(2, "big")
            self.say(core.PROOF, payload + cmac(derive(self.key, b"prove", b""), whole)[:8])

    def _answer(self, command: str) -> None:
        if self.mute:
            return
        if self.now >= self.heals_at:
            self.missing.clear()
        words = command.split()
        lines = []
        if words[0] == "selftest":
            parts = {name: name not in self.missing for name in ("flash", "config", "bh1750", "bl0937")}
            lines = [("ok " if good else "FAILED ") + name for name, good in parts.items()]
            lines.append("PASS" if all(parts.values()) else "FAIL")
        elif words[0] == "read":
            power = self.lamp_w if self.relay or self.welded else 0.2
            lines = ["bh1750 {'lux': 120.5} errors 0", f"bl0937 {{'power': {power}, 'energy': 1}} errors 2"]
        elif words[0] == "lamp":
            if len(words) > 1 and not self.stubborn:
                self.relay = int(words[1] != "off")
            lines = [f"level {100 * self.relay} mode 2"]
        self.out += command.encode() + b"".join(b"\r\n" + line.encode() for line in lines) + b"\r\n"


def prover(node: Node) -> Prover:
    return Prover(node, now=lambda: node.now, unix=lambda: UNIX, random=lambda n: bytes(range(200, 200 + n)))


def code(work: Callable[[], object]) -> str:
    with pytest.raises(FlashError) as error:
        work()
    return error.value.code


def test_a_node_with_its_key_is_proven_and_gets_the_time() -> None:
    node = Node()
    proven = prover(node).prove(7, MAC, KEY)
    assert (proven.address, proven.uid, proven.boot, proven.firmware) == (7, MAC, 3, "0.1.0")
    assert node.given == int(UNIX)
    assert node.now < 5


def test_a_host_whose_clock_is_not_set_gives_no_time() -> None:
    node = Node()
    Prover(node, now=lambda: node.now, unix=lambda: 86400.0).prove(7, MAC, KEY)
    assert node.given is None


@pytest.mark.parametrize(
    ("node", "expected", "within"),
    [
        (Node(mute=True), "silent", 41),
        (Node(key=None), "no-proof", 16),
        (Node(key=bytes(16)), "proof-wrong", 5),
        (Node(mac="a1b2c3d40002"), "other-node", 5),
        (Node(address=8), "other-node", 5),
    ],
)
def test_each_failure_has_its_code_and_ends_in_time(node: Node, expected: str, within: float) -> None:
    assert code(lambda: prover(node).prove(7, MAC, KEY)) == expected
    assert node.now <= within


def test_what_the_node_prints_is_told_when_it_stays_silent() -> None:
    node = Node(mute=True)
    node.out += b"\r\nImportError: no module named 'node.app'\r\n"
    with pytest.raises(FlashError, match=r"ImportError: no module named 'node\.app'"):
        prover(node).prove(7, MAC, KEY)


def test_the_proof_of_another_challenge_counts_for_nothing() -> None:
    node = Node(key=None)
    old = bytes(16) + cmac(derive(KEY, b"prove", b""), bytes(16) + bytes.fromhex(MAC) + b"\0\7")[:8]
    node.hello()
    node.say(core.PROOF, old)
    assert code(lambda: prover(node).prove(7, MAC, KEY)) == "no-proof"


def test_the_self_test_waits_for_slow_sensors_and_names_those_that_fail() -> None:
    node = Node(missing=["bh1750"], heals_at=20)
    parts = prover(node).self_test()
    assert all(part.passed for part in parts)
    assert 20 <= node.now < 30
    assert Part("bh1750", True, "lux 120.5") in parts
    node = Node(missing=["bl0937"])
    told: list[str] = []
    parts = prover(node).self_test(told.append, wait_s=30)
    assert [part.name for part in parts if not part.passed] == ["bl0937"]
    assert told[-1] == "waits for bl0937"
    assert prover(Node(mute=True)).self_test(wait_s=10) == []


@pytest.mark.parametrize(
    ("node", "lamp", "relay", "power", "detail"),
    [
        (Node(), True, True, True, "0.2 W off, 60.0 W on"),
        (Node(lamp_w=0.2), False, True, True, "0.2 W off, 0.2 W on: no lamp is connected"),
        (Node(lamp_w=0.2), True, True, False, "0.2 W off, 0.2 W on: no lamp is connected"),
        (Node(welded=True), False, True, False, "60.0 W off, 60.0 W on"),
        (Node(stubborn=True), False, False, False, "60.0 W off, 60.0 W on"),
    ],
)
def test_the_relay_is_clicked_and_its_power_seen(node: Node, lamp: bool, relay: bool, power: bool, detail: str) -> None:
    parts = {part.name: part for part in prover(node).relay(lamp=lamp)}
    assert (parts["relay"].passed, parts["power"].passed, parts["power"].detail) == (relay, power, detail)
    assert node.now < 120


def test_without_a_meter_the_relay_alone_is_clicked() -> None:
    assert [part.name for part in prover(Node()).relay(meter=False)] == ["relay"]


def test_frames_and_text_are_told_apart_however_they_are_cut() -> None:
    node = Node()
    for _ in range(3):
        node.hello()
        node.out += b"typed\r\nok flash\r\nFAILED sps30\r\nFAIL\r\n"
    whole = bytes(node.out)
    chance = random.Random(6)
    for _ in range(200):
        talk = Talk()
        rest = whole
        said = []
        while rest:
            n = chance.choice((1, 2, 3, 7, 40, 200))
            said += talk.take(rest[:n])
            rest = rest[n:]
        assert [one.kind for one in said] == [schema.HELLO] * 3
        assert {uid(one) for one in said} == {MAC}
        assert talk.lines == ["typed", "ok flash", "FAILED sps30", "FAIL"] * 3
        assert talk.bad == 0


def test_no_question_interrupts_a_node_that_starts() -> None:
    talk = Talk()
    sent = [talk.ask_hello() for _ in range(3000)]
    assert not any(b"\x03" in data for data in sent)
    assert len(set(sent)) > 1000


def test_noise_is_no_message_and_no_end() -> None:
    chance = random.Random(7)
    talk = Talk()
    for _ in range(50):
        assert talk.take(chance.randbytes(500)) == []
    node = Node()
    node.out += b"\0"
    node.hello()
    assert [one.kind for one in talk.take(bytes(node.out))] == [schema.HELLO]
