"""The line's conversation against a fake node, in the test's own time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import pytest
from felinar.clock import Now
from felinar.facts import Fact, Health, Hello, Kept, OrderAnswered, OrderExpired, OrderSent, Stale
from felinar.session import PING_S, RESYNC_S, RING, Session
from felinar_wire import codec, frame, schema, serial
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.host.fake_node import FakeNode

UID = "a1b2c3d40001"
UNIX = 1_790_000_000.0
F = TypeVar("F")


@dataclass
class Order:
    """A command that expires at a Unix time."""

    id: int
    expires: float = UNIX + 3600
    node: int = 1
    kind: int = schema.LAMP_SET

    def values(self, unix: float) -> list[int] | None:
        left = int(self.expires - unix)
        return [self.id, schema.MODE_DIM, 60, 0, left, 0] if left > 0 else None


class Line:
    """A session and a node joined by a wire; time passes when the test says so."""

    def __init__(self, node: FakeNode | None = None, unix: float = UNIX) -> None:
        self.mono = 1000.0
        self.unix = unix
        self.node = node or FakeNode()
        self.session = Session(self.now)
        self.facts: list[Fact] = []
        self.written = bytearray()
        self.cut = False

    @property
    def now(self) -> Now:
        return Now(self.mono, self.unix)

    def settle(self) -> None:
        """Carry bytes both ways until nobody has anything to say."""
        while True:
            data, facts = self.session.output(self.now)
            self.facts += facts
            self.written += data
            if data and not self.cut:
                self.node.feed(data)
            back = self.node.take()
            if back and not self.cut:
                self.facts += self.session.receive(back, self.now)
            if not data and not back:
                return

    def run(self, seconds: float) -> None:
        end = self.mono + seconds
        while self.mono < end:
            self.settle()
            step = min(max(self.session.wake() - self.mono, 0.05), end - self.mono)
            self.mono += step
            self.unix += step
            self.facts += self.session.tick(self.now)
        self.settle()

    def of(self, kind: type[F]) -> list[F]:
        return [fact for fact in self.facts if isinstance(fact, kind)]

    def sent(self, kind: int) -> list[list[Any]]:
        return [values for k, values in self.node.heard if k == kind]


def test_asks_who_is_there_and_sets_the_clock() -> None:
    line = Line()
    line.run(1)
    hello = line.of(Hello)[0]
    assert (hello.node, hello.uid, hello.boot, hello.firmware, hello.new) == (1, "a1b2c3d40001", 1, "1.2.3", True)
    assert line.node.told_time == int(line.unix) or line.node.told_time == int(UNIX)
    assert line.of(Health), "the first ping follows at once: it tells how long the boot has lasted"


def test_a_host_whose_clock_was_never_set_gives_no_time() -> None:
    line = Line(unix=1000.0)
    line.run(1)
    assert line.of(Hello)
    assert not line.sent(schema.TIME)
    assert line.session.counts["frames_time_withheld"] == 1


def test_asks_again_ever_more_slowly_while_nobody_answers() -> None:
    line = Line()
    line.cut = True
    line.run(300)
    asked = line.session.counts["frames_out"]
    assert 10 <= asked <= 14
    line.cut = False
    line.run(31)
    assert line.of(Hello)


def test_clock_is_set_again_after_hours() -> None:
    line = Line()
    line.run(RESYNC_S + 60)
    assert len(line.sent(schema.TIME)) == 2


def test_reports_come_out_whole_and_leave_the_node_only_when_acknowledged() -> None:
    line = Line()
    line.run(1)
    body = line.node.report(line.unix)
    line.node.event(schema.EVENT_LAMP, 100, line.unix)
    line.node.transmit()
    line.settle()
    report, event = line.of(Kept)
    assert (report.node, report.uid, report.boot, report.seq, report.body) == (1, "a1b2c3d40001", 1, 0, body)
    assert (report.kind, event.kind, event.seq) == (schema.REPORT, schema.EVENT, 1)
    assert report.time == int(line.unix)
    line.run(60)
    assert len(line.node.outbox) == 2, "nothing is acknowledged that nobody has stored"
    line.session.acknowledge(1, UID, 1, 0, 3)
    line.settle()
    assert not line.node.outbox


def test_messages_of_an_unknown_node_wait_for_its_hello() -> None:
    line = Line()
    line.node.report(line.unix)
    line.node.transmit()
    line.facts += line.session.receive(line.node.take(), line.now)
    assert not line.of(Kept)
    assert line.session.bad == {"unidentified": 1}
    line.run(1)
    line.node.transmit()
    line.settle()
    assert len(line.of(Kept)) == 1


def test_a_restart_whose_hello_was_lost_is_not_taken_for_the_old_boot() -> None:
    line = Line()
    line.run(1)
    for _ in range(3):
        line.node.report(line.unix)
    line.node.transmit()
    line.settle()
    line.session.acknowledge(1, UID, 1, 0, 7)
    line.settle()
    line.node.restart()
    line.node.report(line.unix)
    line.node.transmit()
    line.settle()
    assert [k.boot for k in line.of(Kept)] == [1, 1, 1]
    line.run(3)
    line.node.transmit()
    line.settle()
    assert [(k.boot, k.seq) for k in line.of(Kept)][3:] == [(2, 0)]


def test_old_boots_messages_keep_their_identity() -> None:
    line = Line()
    line.node.report(line.unix)
    line.node.restart()
    line.node.report(line.unix)
    line.run(1)
    line.node.transmit()
    line.settle()
    assert [(k.boot, k.seq) for k in line.of(Kept)] == [(1, 0), (2, 0)]


def test_a_message_without_a_time_is_held_until_health_places_its_boot() -> None:
    line = Line(FakeNode(clock_unset=True, up=50))
    line.node.hello()
    line.facts += line.session.receive(line.node.take(), line.now)
    line.node.report(line.unix)
    line.node.transmit()
    line.facts += line.session.receive(line.node.take(), line.now)
    assert not line.of(Kept)
    line.run(1)
    order = [type(fact) for fact in line.facts if isinstance(fact, Health | Kept)]
    assert order[:2] == [Health, Kept]


def test_a_held_message_is_released_when_health_never_comes() -> None:
    line = Line(FakeNode(deaf=True))
    line.node.hello()
    line.node.report(None)
    line.node.transmit()
    line.settle()
    line.run(10)
    assert len(line.of(Kept)) == 1


def test_pings_and_goes_stale_after_three_unanswered_then_recovers() -> None:
    line = Line()
    line.run(1)
    line.node.deaf = True
    line.run(2 * PING_S + 10)
    assert not line.of(Stale)
    line.run(PING_S)
    assert line.of(Stale) == [Stale(3)]
    assert line.session.stale
    line.run(3 * PING_S)
    assert len(line.of(Stale)) == 1, "said once"
    line.node.deaf = False
    line.run(PING_S + 1)
    assert not line.session.stale


def test_health_can_be_asked_for_at_once() -> None:
    line = Line()
    line.run(5)
    before = len(line.of(Health))
    line.session.ask_health(1)
    line.run(0.1)
    assert len(line.of(Health)) == before + 1


def test_an_order_is_repeated_until_its_answer_and_done_once() -> None:
    line = Line()
    line.run(1)
    line.node.silent_results = True
    line.session.order(Order(7), line.now)
    line.session.order(Order(7), line.now)
    line.run(30)
    tries = [fact.tries for fact in line.of(OrderSent)]
    assert tries == [1, 2, 3, 4]
    line.node.silent_results = False
    line.run(31)
    answer = line.of(OrderAnswered)[0]
    assert (answer.id, answer.code, answer.level, answer.relay) == (7, schema.RESULT_APPLIED, 60, 1)
    line.run(120)
    assert len(line.node.executed) == 1
    assert len(line.of(OrderAnswered)) == 1


def test_an_order_tells_the_time_that_is_left_and_expires() -> None:
    line = Line()
    line.run(1)
    line.node.silent_results = True
    line.session.order(Order(9, expires=UNIX + 60), line.now)
    line.run(30)
    left = [values[4] for values in line.sent(schema.LAMP_SET)]
    assert left == sorted(left, reverse=True)
    assert left[0] > left[-1] > 0
    line.run(60)
    assert line.of(OrderExpired) == [OrderExpired(1, 9)]
    count = len(line.sent(schema.LAMP_SET))
    line.run(100)
    assert len(line.sent(schema.LAMP_SET)) == count


def test_orders_go_one_after_another_and_can_be_withdrawn() -> None:
    line = Line()
    line.run(1)
    line.node.silent_results = True
    for id in (1, 2, 3):
        line.session.order(Order(id), line.now)
    line.run(10)
    assert {values[0] for values in line.sent(schema.LAMP_SET)} == {1}
    line.session.withdraw(1, 1)
    line.session.withdraw(1, 2)
    line.node.silent_results = False
    line.run(10)
    assert [values[1] for values in line.node.executed] == [1, 3]


def test_orders_survive_the_nodes_restart() -> None:
    line = Line()
    line.run(1)
    line.node.deaf = True
    line.session.order(Order(5), line.now)
    line.run(5)
    line.node.restart()
    line.node.deaf = False
    line.node.hello()
    line.run(2)
    assert [fact.id for fact in line.of(OrderAnswered)] == [5]


def test_a_result_that_nobody_asked_for_is_counted() -> None:
    line = Line()
    line.run(1)
    line.node._send(schema.RESULT, [99, 0, 0, 0])
    line.settle()
    assert line.session.bad == {"stray_result": 1}
    assert not line.of(OrderAnswered)


def test_never_more_in_the_nodes_ring_than_it_holds() -> None:
    line = Line(FakeNode(deaf=True))
    line.node.hello()
    line.settle()
    for boot in range(40):
        line.session.acknowledge(1, UID, boot, 1 << 29, 0xFFFFFFFF)
    line.session.order(Order(1), line.now)
    line.written.clear()
    line.mono += 0.5
    line.settle()
    assert 0 < len(line.written) <= RING
    line.run(60)
    assert len(line.sent(schema.ACK)) == 40, "held back, not dropped"


def test_only_the_latest_acknowledgement_of_a_span_goes_out() -> None:
    line = Line()
    line.run(1)
    for bitmap in (1, 3, 7):
        line.session.acknowledge(1, UID, 1, 32, bitmap)
    line.session.acknowledge(1, UID, 1, 64, 1)
    line.settle()
    assert line.sent(schema.ACK) == [[1, 32, 7], [1, 64, 1]]


def test_another_board_at_the_same_address_is_not_told_to_forget() -> None:
    line = Line()
    line.run(1)
    line.node.report(line.unix)
    line.session.acknowledge(1, "ffffffffffff", 1, 0, 0xFFFFFFFF)
    line.run(1)
    assert line.sent(schema.ACK) == []
    assert len(line.node.outbox) == 1


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "short"),
        (b"\x07abcdefgh", "type"),
        (b"\0abc", "short"),
        (b"\0" + frame.pack(schema.TIME, 1, 0, b""), "direction"),
        (b"\0" + frame.pack(schema.REPORT, 0, 0, b""), "address"),
        (b"\0" + frame.pack(schema.HELLO, 1, 0, b"\0"), "short"),
        (b"\0" + frame.pack(schema.HELLO, 1, 0, codec.encode(schema.HELLO, [None] * 13)), "values"),
        (b"\0" + frame.pack(schema.REPORT, 1, 0, b"", version=1), "version"),
    ],
)
def test_what_is_no_message_is_dropped_and_counted(content: bytes, reason: str) -> None:
    session = Session(Now(0, UNIX))
    data = serial.encode(content) if content else b"\x01\0"
    assert session.receive(data, Now(0, UNIX)) == []
    assert session.bad == {reason: 1}


def test_a_body_of_an_unknown_schema_is_kept_as_it_came() -> None:
    line = Line(FakeNode(schema_version=schema.VERSION + 1))
    line.run(1)
    body = line.node.report(line.unix)
    line.node.transmit()
    line.settle()
    (message,) = line.of(Kept)
    assert (message.body, message.schema, message.time) == (body, schema.VERSION + 1, None)
    assert line.session.counts["frames_unread"] == 1


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_cutting_of_the_stream_gives_the_same_facts(data: st.DataObject) -> None:
    node = FakeNode()
    node.hello()
    for i in range(5):
        node.report(UNIX + i)
    node.transmit()
    stream = node.take()
    whole = Session(Now(0, UNIX)).receive(stream, Now(0, UNIX))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=30)))
    session = Session(Now(0, UNIX))
    facts: list[Fact] = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        facts += session.receive(stream[start:end], Now(0, UNIX))
    assert facts == whole
    assert len([f for f in facts if isinstance(f, Kept)]) == 5


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(max_size=400), max_size=10))
def test_garbage_yields_no_fact_and_the_next_frame_is_understood(chunks: list[bytes]) -> None:
    session = Session(Now(0, UNIX))
    for chunk in chunks:
        assert session.receive(chunk, Now(0, UNIX)) == []
    node = FakeNode()
    node.hello()
    facts = session.receive(b"\0" + node.take(), Now(0, UNIX))
    assert [type(fact) for fact in facts] == [Hello]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 255), st.sampled_from(["flip", "drop", "insert"]))
def test_a_damaged_byte_never_delivers_a_wrong_message(where: int, byte: int, how: str) -> None:
    node = FakeNode()
    node.hello()
    bodies = [node.report(UNIX + i) for i in range(5)]
    node.transmit()
    stream = bytearray(node.take())
    where %= len(stream)
    if how == "flip":
        stream[where] ^= byte or 1
    elif how == "drop":
        del stream[where]
    else:
        stream.insert(where, byte)
    facts = Session(Now(0, UNIX)).receive(bytes(stream), Now(0, UNIX))
    for fact in facts:
        if isinstance(fact, Kept):
            assert fact.body == bodies[fact.seq]
