"""The host beside nodes of other schema versions: what it reads is right, what it says is understood, nothing is lost."""

from __future__ import annotations

import asyncio
import io
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from felinar import api, bodies, show, tables
from felinar.clock import Now
from felinar.config import Config
from felinar.errors import ClientError
from felinar.facts import Hello, Kept
from felinar.hub import Hub
from felinar.keys import Broadcast, Keyring, SqliteKeyStore
from felinar.readings import FIELDS, event, physical, reading, report
from felinar.session import Session
from felinar.store import Row, SqliteStore, TimeSource
from felinar.tables import History
from felinar_wire import WireError, codec, frame, join, schema
from felinar_wire.session import Session as Sealed
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from rich.console import Console

from tests.host.fake_clock import FakeClock
from tests.host.fake_node import FakeNode
from tests.host.test_daemon import Log, add, ask, config, log, running, until, wires
from tests.host.wires import PtyWire, Wire
from tests.protocol import evolved

__all__ = ["log", "wires"]  # fixtures

UNIX = 1_790_000_000
UID = "a1b2c3d40001"
SEED = st.integers(0, 1 << 48)
R = schema.REPORT
VERSION = st.integers(1, 4)
MANY = settings(max_examples=120, deadline=None, derandomize=True)


def host(versions: dict[int, evolved.Tables], newest: int = 3) -> History:
    return History({version: table for version, table in versions.items() if version <= newest})


def named(table: evolved.Table, values: evolved.Values, own: evolved.Table) -> evolved.Values:
    """Values of one table in the order of another: None where a field is not there, or means something else."""
    theirs = {f[0]: (f, v) for f, v in zip(table, values, strict=False)}
    return [theirs[f[0]][1] if f[0] in theirs and theirs[f[0]][0][:4] == f[:4] else None for f in own]


@dataclass
class Node(FakeNode):
    """A fake node whose firmware has a table of its own."""

    tables: evolved.Tables = field(default_factory=dict)

    def keep(self, kind: int, values: evolved.Values) -> bytes:
        body = codec.encode(kind, values, None, 0, self.tables)
        self.outbox[self.boot, self.seq] = (kind, body)
        self.seq += 1
        return body

    def _send(self, kind: int, values: list[Any]) -> None:
        given_values = named(schema.TABLE[kind], values, self.tables[kind])
        self._send_payload(kind, codec.encode(kind, given_values, None, 0, self.tables))

    def feed(self, data: bytes) -> None:
        for content in self._deframer.feed(data):
            kind, _, _, payload = frame.unpack(content[1:])
            values = codec.decode(
                kind, payload, tables=self.tables
            )  # its firmware lets nothing stand behind what it knows
            self.heard.append((kind, values))
            self._act(kind, named(self.tables[kind], values, schema.TABLE[kind]))


@dataclass
class Order:
    kind: int
    given: list[int]
    id: int = 7
    node: int = 1

    def values(self, unix: float) -> list[int] | None:
        return self.given


class Line:
    """A node and the host's session, joined by a wire."""

    def __init__(self, node: FakeNode, history: History) -> None:
        self.mono = 1000.0
        self.node = node
        self.session = Session(self.now, history=history)
        self.facts: list[Any] = []

    @property
    def now(self) -> Now:
        return Now(self.mono, float(UNIX + self.mono))

    def run(self, seconds: int = 4) -> None:
        for _ in range(seconds * 4):
            for _ in range(20):
                data = self.session.output(self.now)[0]
                if data:
                    self.node.feed(data)
                back = self.node.take()
                if back:
                    self.facts += self.session.receive(back, self.now)
                if not data and not back:
                    break
            self.mono += 0.25
            self.facts += self.session.tick(self.now)

    def of(self, kind: type[Any]) -> list[Any]:
        return [fact for fact in self.facts if isinstance(fact, kind)]


def row(message: Kept) -> Row:
    time = UNIX if message.time is None else message.time
    return Row(time, 1, 1, message.boot, message.seq, TimeSource.NODE, message.schema, UNIX, message.body)


def expected(values: evolved.Values, table: evolved.Table, history: History) -> dict[str, Any]:
    """What the interface must show of a report: what it told in physical units, null for what it did not have."""
    names = [f[0] for f in table]
    shown = physical(schema.REPORT, dict(zip(names, evolved.seen(table, values), strict=True)), table)
    wanted: dict[str, Any] = {}
    for version in range(history.newest, 0, -1):
        known = history.of(version)
        assert known is not None
        for f in known[schema.REPORT]:
            wanted.setdefault(f[0], shown.get(f[0]))
    del wanted["time"]
    return wanted


# A wired line


@given(SEED, VERSION)
@MANY
def test_kept_messages_are_read_right_or_kept_unread(seed: int, version: int) -> None:
    """Of a version that the host knows all is read; of a newer one nothing, until the host is updated."""
    rng = random.Random(seed)
    versions = evolved.past_and_future(rng)
    history = host(versions)
    node = Node(schema_version=version, tables=versions[version])
    line = Line(node, history)
    line.run(1)
    made = [evolved.values(rng, node.tables[R]) for _ in range(5)]
    sent = [node.keep(R, values) for values in made]
    node.transmit()
    line.run(6)
    assert [(m.seq, m.body) for m in line.of(Kept)] == list(enumerate(sent)), "every body is kept as it came"
    for message, values in zip(line.of(Kept), made, strict=True):
        shown = report(row(message), history)
        if version == 4:
            assert (shown, message.time, message.schema) == (None, None, 4)
            later = host(versions, 4)
            assert report(row(message), later) == expected(values, node.tables[R], later)
        else:
            assert shown == expected(values, node.tables[R], history)
            told = evolved.seen(node.tables[R], values)[0]
            assert message.time == (told + schema.EPOCH_UNIX if isinstance(told, int) else None)
    line.session.acknowledge(1, UID, 1, 0, 31)
    line.run(1)
    assert not node.outbox, "an acknowledgement is understood whatever the version"
    assert node.told_time, "and so is the time"


@given(SEED, VERSION, st.sampled_from([schema.LAMP_SET, schema.CONFIG]))
@MANY
def test_a_command_is_understood_as_it_was_given_or_not_sent(seed: int, version: int, kind: int) -> None:
    rng = random.Random(seed)
    versions = evolved.past_and_future(rng)
    history = host(versions)
    node = Node(schema_version=version, tables=versions[version])
    line = Line(node, history)
    line.run(1)
    own = schema.TABLE[kind]
    given_values = [7, *(rng.randint(f[4], f[5]) for f in own[1:])]
    line.session.order(Order(kind, given_values), line.now)
    line.run(5)
    heard = [values for k, values in node.heard if k == kind]
    able = history.sayable(version, kind)
    assert bool(heard) == able
    for values in heard:
        assert None not in values[: schema.base(node.tables[kind])], "no part of an order is left out"
        for f, value in zip(node.tables[kind], values, strict=True):
            known = {g[0]: v for g, v in zip(own, given_values, strict=True) if g[:4] == f[:4]}
            assert value in (known.get(f[0]), schema.UNDER, schema.OVER)
    same = schema.checksum(kind, versions[version]) == schema.checksum(kind, versions[3])
    if version <= 3 and same:
        assert able
    if version == 4:
        assert not able, "a clear line does not show whether a newer node's command is still the same"


def test_an_order_that_cannot_be_said_is_in_nobodys_way() -> None:
    """Others go out, the line does not spin, and the order runs out at its time."""
    versions = {
        1: evolved.altered(random.Random(2), dict(schema.TABLE), schema.LAMP_SET, "name"),
        2: dict(schema.TABLE),
    }
    line = Line(Node(schema_version=1, tables=versions[1]), History(versions))
    line.run(1)
    line.session.order(Order(schema.LAMP_SET, [7, 1, 100, 0, 60, 0]), line.now)
    line.session.order(Order(schema.CONFIG, [8, 1, 60], id=8), line.now)
    line.run(4)
    assert line.node.executed == [[schema.CONFIG, 8, 1, 60]]
    assert line.session.wake() > line.now.mono
    assert line.session.counts["frames_out"] < 10


@pytest.mark.parametrize("version", [0, 1, 2, 3, 4, 200])
def test_hello_of_any_version(version: int) -> None:
    versions = evolved.past_and_future(random.Random(5))
    versions = {
        v: evolved.appended(random.Random(v), t, 4, [schema.HELLO]) if v == 4 else t for v, t in versions.items()
    }
    node = Node(schema_version=version, tables=versions.get(version, versions[4]))
    history = History({2: versions[2], 3: versions[3]})
    line = Line(node, history)
    line.run(2)
    hello = line.of(Hello)[0]
    assert (hello.uid, hello.boot, hello.schema, hello.firmware) == (UID, 1, version, "1.2.3")
    line.run(200)
    assert not line.session.stale, "pings of a node that is not understood count as signs of life"
    assert not line.session.bad


def test_a_hello_with_more_than_its_version_has_is_refused() -> None:
    node = FakeNode()
    values = [schema.VERSION, 1, 2, 3, 1, 1, 2, 3, 1, 0, 9, 0, 0]
    for version, taken in ((schema.VERSION, False), (schema.VERSION + 1, True)):
        line = Line(node, tables.RELEASED)
        node._send_payload(schema.HELLO, codec.encode(schema.HELLO, [version, *values[1:]]) + b"\0")
        line.facts += line.session.receive(node.take(), line.now)
        assert bool(line.of(Hello)) == taken
        assert line.session.bad == ({} if taken else {"trailing": 1})


# Bodies of boots before an update


@given(SEED, st.integers(1, 3), VERSION, st.booleans())
@MANY
def test_a_body_from_before_an_update(seed: int, before: int, after: int, heard: bool) -> None:
    """Made by one version, sent by another: read right, or, where nobody knows what made it and it matters, not at all."""
    rng = random.Random(seed)
    versions = evolved.past_and_future(rng)
    history = host(versions)
    values = evolved.values(rng, versions[before][R])
    body = codec.encode(R, values, None, 0, versions[before])
    made = history.made(R, before if heard else None, announced=after)
    message = Kept(1, UID, 1, 1, R, made, body, float(UNIX))
    shown = report(row(message), history)
    alone = len({schema.checksum(R, versions[v]) for v in (1, 2, 3)}) == 1
    if heard or (alone and after <= 3):
        assert shown == expected(values, versions[before][R], history)
    else:
        assert shown is None


def test_a_line_does_not_take_an_older_boots_body_for_one_of_this_version() -> None:
    versions = {1: evolved.altered(random.Random(4), dict(schema.TABLE), R, "resolution"), 2: dict(schema.TABLE)}
    node = Node(schema_version=1, tables=versions[1])
    body = node.keep(R, [100, 5, *[9] * 22])
    node.restart()
    node.schema_version, node.tables = 2, versions[2]
    node.keep(R, [200, 5, *[9] * 22])
    line = Line(node, History(versions))
    line.run(1)
    node.transmit()
    line.run(1)
    assert [(m.boot, m.schema, m.time) for m in line.of(Kept)] == [(1, 0, None), (2, 2, 200 + schema.EPOCH_UNIX)]
    assert line.of(Kept)[0].body == body
    assert line.session.counts["frames_unread"] == 1


def test_the_hub_remembers_what_made_an_older_boots_bodies(tmp_path: Path, log: Log) -> None:
    """A node whose reports changed for good is updated while it still has old ones: they are read by the old table."""
    versions = {1: evolved.altered(random.Random(4), dict(schema.TABLE), R, "resolution"), 2: dict(schema.TABLE)}
    history = History(versions)
    old = codec.encode(R, [100, 5, *[9] * 22], None, 0, versions[1])
    store = SqliteStore(tmp_path / "felinar.sqlite3", linger_s=0)
    link: Any = type(
        "Silent", (), {"acknowledge": lambda *_: None, "order": lambda *_: None, "url": "x", "nodes": (1,)}
    )()

    async def work() -> None:
        def hub() -> Hub:
            return Hub(Config(), store, FakeClock(), log.logger, history=history)

        first = hub()
        first.facts(link, [Hello(1, UID, 1, 1, "1.0.0", 1, True, 0, 0, True)])
        first.facts(link, [Hello(1, UID, 2, 2, "2.0.0", 1, True, 0, 0, True)])
        unknown = history.made(R, None, announced=2)
        assert unknown == 0
        first.facts(
            link, [Kept(1, UID, 1, 7, R, unknown, old, float(UNIX)), Kept(1, UID, 0, 7, R, 0, old, float(UNIX))]
        )
        await asyncio.wrap_future(store.note_full_power(1, 60.0))

    asyncio.run(work())
    by_boot = {found.boot: found for found in store.read(R).result(10)}
    assert (by_boot[1].schema, by_boot[0].schema) == (1, 0)
    assert by_boot[1].time == 100 + schema.EPOCH_UNIX
    assert report(by_boot[1], history) == expected([100, 5, *[9] * 22], versions[1][R], history)
    assert report(by_boot[0], history) is None
    assert by_boot[0].body == old
    store.close()


# Sealed frames


@given(SEED, VERSION)
@MANY
def test_sealed_frames_show_whether_the_base_is_shared(seed: int, version: int) -> None:
    """A newer node is read as far as its base fields are the same, differential bodies too; else nothing opens."""
    rng = random.Random(seed)
    versions = evolved.past_and_future(rng)
    history = host(versions)
    its = versions[version]
    up, down = join.keys(bytes(16), 5, 1, bytes(7))
    node = Sealed(5, up, down, lambda kind: schema.checksum(kind, its), {})
    mine = Sealed(5, down, up, history.crc(version), {})
    for kind in (R, schema.EVENT, schema.HEALTH, schema.RESULT):
        values = evolved.values(rng, its[kind])
        base = history.of(min(version, 3))
        assert base is not None
        shared = schema.checksum(kind, its) == schema.checksum(kind, base)
        assume(shared == (its[kind][: schema.base(its[kind])] == base[kind][: schema.base(base[kind])]))
        body = codec.encode(kind, values, None, 0, its)
        if not shared:
            with pytest.raises(WireError, match="tag"):
                mine.open(node.seal(kind, body))
            continue
        read = history.decode(version, kind, mine.open(node.seal(kind, body))[2], sealed=True)
        assert read == evolved.padded(evolved.seen(its[kind], values), base[kind])
        second = evolved.later(rng, its[kind], values)
        change = mine.open(node.seal(kind, codec.encode(kind, second, values, 2, its)))[2]
        read = history.decode(version, kind, change, read, 2, sealed=True)
        assert read == evolved.padded(evolved.seen(its[kind], second), base[kind])
        if kind == R:
            made = history.made(kind, version, announced=version, sealed=True)
            message = Kept(1, UID, 1, 1, kind, made, body, float(UNIX))
            n = len(base[R])
            assert report(row(message), history) == expected(values[:n], its[R][:n], history)
            later = host(versions, 4)
            assert report(row(message), later) == expected(values, its[R], later), "and all of it after an update"
            older = host(versions, 2)
            assert version < 3 or report(row(message), older) is None, "a host set back does not guess"
    for kind in (schema.LAMP_SET, schema.CONFIG):
        if not history.sayable(version, kind, sealed=True):
            assert version == 1
            continue
        own = schema.TABLE[kind]
        given_values = [rng.randint(f[4], f[5]) for f in own]
        sealed = mine.seal(kind, history.encode(version, kind, given_values, sealed=True))
        if schema.checksum(kind, its) != history.crc(version)(kind):
            with pytest.raises(WireError, match="tag"):
                node.open(sealed)
            continue
        values = codec.decode(kind, node.open(sealed)[2], tables=its)
        for f, value in zip(its[kind], values, strict=True):
            known_values = {g[0]: v for g, v in zip(own, given_values, strict=True) if g[:4] == f[:4]}
            assert value in (known_values.get(f[0]), schema.UNDER, schema.OVER)


def test_a_keyring_with_a_newer_node(tmp_path: Path) -> None:
    """It joins; what it shares is opened, what was altered is counted as another schema, and a forgery as a forgery."""
    versions = evolved.past_and_future(random.Random(0))
    newer = evolved.altered(random.Random(0), versions[3], schema.EVENT, "range")
    history = host(versions)
    store = SqliteKeyStore(tmp_path / "keys.db", bytes(32), create=True)
    broadcast = Broadcast(store.chain_secret(), store.zone_key)
    ring = Keyring(
        store, crc=history.crc, newest=history.newest, now=lambda: 90_000_000_000, anchor=broadcast.anchor,
        slot=lambda _: (1, 1),
    )  # fmt: skip
    root = store.provision(5)
    answer = ring.answer(join.request(root, 5, 1, 4, 1))
    node = join.accept(answer, root, 5, 1, lambda kind: schema.checksum(kind, newer), {})[0]
    assert ring.open(node.seal(R, b"x")).schema == 4
    for _ in range(2):
        with pytest.raises(WireError, match="schema"):
            ring.open(node.seal(schema.EVENT, b"x"))
    forged = node.seal(R, b"x")
    with pytest.raises(WireError, match="tag"):
        ring.open(forged[:-1] + bytes([forged[-1] ^ 1]))
    assert ring.refused[5] == {"schema": 2, "tag": 1}
    assert node.open(ring.seal(5, schema.ACK, history.encode(4, schema.ACK, [1, 0, 1], sealed=True)))[0] == schema.ACK
    with pytest.raises(WireError, match="schema"):
        ring.answer(join.request(store.provision(6), 6, 1, 0, 1))
    store.close()


# What people see


@pytest.mark.parametrize(
    ("version", "words"),
    [
        (1, "node 7 speaks schema 1, this host 3: the node is older and its messages are no longer understood: update the node"),
        (2, "node 7 speaks schema 2, this host 3: the node is older and can no longer be told LAMP_SET, CONFIG: update the node"),
        (3, ""),
        (4, "node 7 speaks schema 4, newer than this host (3): update the host"),
    ],
)  # fmt: skip
def test_who_is_older(version: int, words: str) -> None:
    now = dict(schema.TABLE)
    before = evolved.altered(random.Random(1), now, schema.LAMP_SET, "name")
    before = evolved.altered(random.Random(1), before, schema.CONFIG, "resolution")
    before = evolved.altered(random.Random(1), before, R, "resolution")  # is read all the same
    history = History({2: before, 3: now})
    assert history.mismatch(7, version) == words
    assert history.mismatch(7, 4, sealed=True) == ""


def test_values_of_older_versions_have_their_own_resolution() -> None:
    for change, wanted in (("resolution", 4.2), ("unit", None), ("name", None)):
        rng = random.Random(0)
        old = evolved.altered(rng, dict(schema.TABLE), R, change)
        at = next(i for i, (a, b) in enumerate(zip(old[R], schema.TABLE[R], strict=True)) if a != b)
        name, its = schema.TABLE[R][at][0], old[R][at]
        history = History({1: old, 2: dict(schema.TABLE)})
        values: list[Any] = [None] * len(old[R])
        values[at] = round(4.2 * its[3])
        body = codec.encode(R, values, None, 0, old)
        shown = report(Row(UNIX, 1, 1, 1, 1, TimeSource.NODE, 1, UNIX, body), history)
        assert shown is not None
        assert shown[name] == (None if wanted is None else round(4.2 * its[3]) / its[3])
        steps = bodies.unpack(1, R, body, history)
        assert steps is not None
        assert steps[name] is None, "whoever counts in steps is not given those of another resolution"


def test_a_message_that_became_readable_has_its_own_time() -> None:
    body = codec.encode(schema.EVENT, [100, 5, schema.EVENT_LAMP, 40])
    stored = Row(UNIX, 1, 1, 1, 1, TimeSource.ARRIVAL, 1, UNIX, body)
    assert event(stored, "a1").time == "2024-01-01T00:01:40Z"
    body = codec.encode(R, [100, *[None] * (len(schema.TABLE[R]) - 1)])
    shown = reading(Row(UNIX, 1, 1, 1, 1, TimeSource.ARRIVAL, 1, UNIX, body), "a1")
    assert (shown.time, shown.time_source) == ("2024-01-01T00:01:40Z", "node")


def test_fields_are_those_of_this_host() -> None:
    assert list(FIELDS) == [f[0] for f in schema.TABLE[R][1:]]


@pytest.mark.parametrize("version", [0, schema.VERSION + 1])
def test_a_daemon_says_once_who_is_older_and_keeps_all(
    tmp_path: Path, wires: list[Wire], log: Log, version: int
) -> None:
    wire = add(wires, PtyWire(FakeNode(schema_version=version), tmp_path / "one"))
    settings = config(tmp_path, wires)
    words = tables.RELEASED.mismatch(1, version)

    async def work() -> None:
        async with running(settings, log) as daemon:
            await until(lambda: daemon.hub._route, "the node")
            wire.report(3)
            await until(lambda: not wire.pending, "the acknowledgements")
            with wire.lock:
                wire.node.hello()
            await until(lambda: daemon.hub.links[0].counts["frames_in"] > 4, "another HELLO")
            (node,) = await ask(settings, lambda c: c.nodes())
            assert (node.schema, node.mismatch, node.reports, node.online) == (version, words, 3, True)
            assert node.latest is not None
            assert node.latest.values is None
            status = await ask(settings, lambda c: c.status())
            assert status.nodes[0].mismatch == words
            for question in (
                lambda c: c.lamp(1, api.LampOrder("dim", 60)), lambda c: c.config(1, api.ConfigOrder(60)),
                lambda c: c.health(1),
            ):  # fmt: skip
                with pytest.raises(ClientError, match=f"Node 1 speaks schema {version}"):
                    await ask(settings, question)
            console = Console(width=160, file=io.StringIO())
            console.print(show.node_table([node], 0.0))
            assert words in " ".join(console.file.getvalue().split())  # type: ignore[attr-defined]
            rows = await asyncio.wrap_future(daemon.store.read(R))
            assert all(codec.decode(R, found.body) for found in rows)

    asyncio.run(work())
    assert log.count("node speaks another schema", level="warning", node=1, reason=words) == 1
