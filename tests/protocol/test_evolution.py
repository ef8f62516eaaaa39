"""Nodes and hosts of different versions: appended fields break nobody, and a real difference is never read."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from felinar import wire_batch
from felinar_wire import WireError, batch, codec, join, schema
from felinar_wire.session import Session
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.protocol import evolution_worker, evolved
from tests.support.micropython import PROTOCOL, Worker

SEED = st.integers(0, 1 << 48)
KIND = st.sampled_from(evolved.KINDS)
LOOSE = st.sampled_from(evolved.LOOSE)
CHANGE = st.sampled_from(evolved.CHANGES)
MANY = settings(max_examples=120, deadline=None, derandomize=True)
UP, DOWN = join.keys(bytes(16), 5, 1, bytes(7))


def sessions(node: evolved.Tables, host: evolved.Tables) -> tuple[Session, Session]:
    """Both ends of a session, each with the CRCs of its own table."""
    return (
        Session(5, UP, DOWN, lambda kind: schema.checksum(kind, node), {}),
        Session(5, DOWN, UP, lambda kind: schema.checksum(kind, host), {}),
    )


@given(SEED, KIND)
@MANY
def test_an_appended_field_breaks_neither_side(seed: int, kind: int) -> None:
    """Whole bodies, sealed: the old side reads the base fields of a new body, the new side all of an old one."""
    rng = random.Random(seed)
    old = dict(schema.TABLE)
    new = evolved.appended(rng, evolved.appended(rng, old, 2, [kind]), 3)
    assert schema.checksum(kind, old) == schema.checksum(kind, new)
    for mine, its in ((old, new), (new, old), (new, new)):
        sender, receiver = sessions(mine, its)
        given_values = evolved.values(rng, mine[kind])
        sealed = sender.seal(kind, codec.encode(kind, given_values, tables=mine))
        body = receiver.open(sealed)[2]
        read = codec.decode(kind, body, newer=True, tables=its)
        assert read == evolved.padded(evolved.seen(mine[kind], given_values), its[kind])


@given(SEED, st.integers(1, 15))
@MANY
def test_a_difference_with_appended_fields(seed: int, lag: int) -> None:
    """Each side holds the older report as it read it."""
    rng = random.Random(seed)
    kind = schema.REPORT
    old = dict(schema.TABLE)
    new = evolved.appended(rng, evolved.appended(rng, old, 2, [kind]), 3, [kind])
    for mine, its in ((old, new), (new, old), (new, new)):
        first = evolved.values(rng, mine[kind])
        second = evolved.later(rng, mine[kind], first)
        held = codec.decode(kind, codec.encode(kind, first, tables=mine), newer=True, tables=its)
        body = codec.encode(kind, second, first, lag, mine)
        read = codec.decode(kind, body, held, lag, newer=True, tables=its)
        assert read == evolved.padded(evolved.seen(mine[kind], second), its[kind])


@given(SEED)
@MANY
def test_bodies_under_both_interpreters(node: Worker, seed: int) -> None:
    """What an evolved table makes of values, bodies and foreign bodies is the same on a chip; so is its CRC."""
    rng = random.Random(seed)
    writing: list[list[Any]] = []
    for _ in range(12):
        kind = rng.choice([schema.REPORT, *evolved.LOOSE])
        tables = evolved.appended(rng, dict(schema.TABLE), 2, [kind])
        if rng.random() < 0.5:
            tables = evolved.altered(rng, tables, kind, rng.choice(evolved.CHANGES))
        first = evolved.values(rng, tables[kind])
        second = evolved.later(rng, tables[kind], first)
        held = rng.choice([None, evolved.seen(tables[kind], first)])
        writing.append(["encode", kind, list(tables[kind]), [second, held, rng.randint(1, 15)]])
    bodies = agree(node, writing)
    reading: list[list[Any]] = []
    for (_, kind, fields, (_, held, lag)), body in zip(writing, bodies, strict=True):
        reading.append(["decode", kind, fields, [body, held, lag, False]])
        # By the wrong table, as only a host without a seal to check would: a message or none, the same under both.
        reading.append(["decode", kind, list(schema.TABLE[kind]), [body, None, 0, True]])
        reading.append(["crc", kind, fields, []])
    found = agree(node, reading)
    for (_, _, fields, (second, _, _)), values in zip(writing, found[::3], strict=True):
        assert values == evolved.seen(tuple(fields), second)


@pytest.fixture(scope="module")
def node() -> Iterator[Worker]:
    worker = Worker(Path(evolution_worker.__file__), path=(PROTOCOL,))
    yield worker
    worker.close()


def agree(node: Worker, questions: list[list[Any]]) -> list[Any]:
    here = [evolution_worker.answer(*question) for question in questions]
    there = node.ask(questions)
    for question, mine, its in zip(questions, here, there, strict=True):
        assert its == mine, f"CPython and MicroPython differ on {question}"
    return here


@given(SEED, LOOSE, CHANGE)
@MANY
def test_an_altered_base_field_fails_closed(seed: int, kind: int, change: str) -> None:
    """Neither side opens the other's message, whole or not; the messages that are not altered go on."""
    rng = random.Random(seed)
    old = dict(schema.TABLE)
    new = evolved.appended(rng, evolved.altered(rng, old, kind, change), 2)
    assert new[kind] != old[kind]
    assume(schema.checksum(kind, old) != schema.checksum(kind, new))  # 1 in 65,536 has the same by chance
    for mine, its in ((old, new), (new, old)):
        sender, receiver = sessions(mine, its)
        sealed = sender.seal(kind, codec.encode(kind, evolved.values(rng, mine[kind]), tables=mine))
        with pytest.raises(WireError, match="tag"):
            receiver.open(sealed)
        assert receiver.counts == {"tag": 1}
        other = rng.choice([k for k in evolved.KINDS if k != kind])
        values = evolved.values(rng, mine[other])
        body = receiver.open(sender.seal(other, codec.encode(other, values, tables=mine)))[2]
        read = codec.decode(other, body, newer=True, tables=its)
        assert read == evolved.padded(evolved.seen(mine[other], values), its[other])


def test_every_base_field_is_in_the_checksum() -> None:
    """Whatever is altered in whichever base field of a message, its CRC is another one."""
    rng = random.Random(1)
    for kind in evolved.LOOSE:
        found = {schema.checksum(kind, schema.TABLE)}
        for change in evolved.CHANGES:
            for _ in range(8):
                found.add(schema.checksum(kind, evolved.altered(rng, dict(schema.TABLE), kind, change)))
        assert len(found) > 8


@given(SEED, st.integers(1, 12))
@settings(MANY, max_examples=100)
def test_batches(seed: int, count: int) -> None:
    """A batch has a column for each field: who knows the sender's table reads it, nobody else opens it."""
    rng = random.Random(seed)
    old = dict(schema.TABLE)
    new = evolved.appended(rng, old, 2, [schema.REPORT])
    table = new[schema.REPORT]
    rows = [(7, evolved.values(rng, table))]
    for _ in range(count - 1):
        rows.append((rows[-1][0] + rng.choice([1, 1, 5]), evolved.later(rng, table, rows[-1][1])))
    with mock.patch.dict(schema.TABLE, {schema.REPORT: table}):
        body = batch.encode(rows)
    sealed = sessions(new, new)[0].seal(schema.BATCH, body[:200])
    sessions(new, new)[1].open(sealed)
    with pytest.raises(WireError, match="tag"):
        sessions(old, old)[1].open(sealed)
    assert wire_batch.decode(body, 7, new) == [(seq, evolved.seen(table, row)) for seq, row in rows]
