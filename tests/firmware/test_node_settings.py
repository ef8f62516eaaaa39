"""The configuration on a NOR flash that loses power at every operation: it is the old one or the new one, never mixed."""

from __future__ import annotations

import json
import random
import struct
from binascii import crc32
from dataclasses import dataclass, field
from typing import Any

import pytest
from felinar_wire import schema
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.firmware.loader import node
from tests.firmware.nor import Nor, PowerCut

store = node("settings")
config = node("config")
CUTS = [("before", 0), ("after", 0), ("head", 0), ("tail", 0), ("bits", 1), ("bits", 2), ("bits", 3)]
TRIAL, NEWS, CRC = 0, 1, 2
FILE = b'{"address": 1}'
BASE = crc32(FILE)


def text(n: int) -> bytes:
    """A configuration; each has a length of its own."""
    return json.dumps({"address": n + 1, "name": "x" * (7 * n % 150)}).encode()


@dataclass
class Node:
    """What the application would know, and what it may find after a cut."""

    flash: Nor
    state: list[Any] = field(default_factory=list)
    kept: bytes = FILE
    newer: set[bytes] = field(default_factory=set)
    """Written, tried or being kept: may be in force or not."""
    must: bytes | None = None
    """Its write has returned, and nothing that could end it has begun."""
    wrote: int = 0
    starts: int = 0
    """Since that write."""

    def start(self) -> None:
        self.starts += 1
        self.state = store.begin(self.flash, BASE)
        found = bytes(store.read(self.state) or FILE)
        assert found in {self.kept, *self.newer}, "neither the old one nor the new one"
        if self.state[TRIAL]:
            assert found in self.newer
            assert self.must in (None, found)
            self.must = found
            return
        assert found == self.kept or found not in (self.must,), "nobody has confirmed it"
        assert self.must is None or self.starts > 2, "what was written and acknowledged is gone"
        self.kept, self.newer, self.must = found, set(), None

    def write(self) -> None:
        self.wrote += 1
        data = text(self.wrote)
        if self.state[TRIAL]:
            assert not store.write(self.state, data)
            return
        self.newer.add(data)
        self.must = None
        assert store.write(self.state, data)
        assert store.read(self.state) == data
        self.newer, self.must, self.starts = {data}, data, 0

    def keep(self) -> None:
        if self.state[TRIAL]:
            data, self.must = self.must, None
            store.end(self.state, True)
            assert data
            self.kept, self.newer = data, set()

    def undo(self) -> None:
        if self.state[TRIAL]:
            self.must = None
            store.end(self.state, False)
            self.newer = set()
            self.start()

    def tell(self) -> None:
        if self.state[NEWS]:
            store.told(self.state)


def run(script: list[str], flash: Nor, cuts: list[tuple[int, str, int]]) -> Node:
    """Run a script; each cut is (operations after the last one, how, seed), and the node starts again after it."""
    lamp = Node(flash)
    left = list(cuts)

    def arm() -> None:
        flash.cut_at = 0
        if left:
            after, flash.how, flash.seed = left.pop(0)
            flash.cut_at = flash.ops + after

    arm()
    todo = ["start", *script]
    while todo:
        try:
            getattr(lamp, todo[0])()
            todo.pop(0)
        except PowerCut:
            if todo[0] != "start":
                todo[0] = "start"
            arm()
    flash.cut_at = 0
    lamp.start()
    return lamp


SCRIPT = [
    "write",
    "start",
    "tell",
    "keep",
    "tell",
    "start",
    "write",
    "write",
    "start",
    "tell",
    "undo",
    "tell",
    "write",
    "start",
    "start",
    "tell",
    "start",
    "tell",
    "write",
    "start",
    "keep",
    "start",
    "tell",
    "write",
    "start",
    "start",
    "start",
    "tell",
    "write",
    "start",
    "keep",
    "tell",
    "start",
]


def test_a_power_cut_at_every_operation() -> None:
    whole = run(SCRIPT, Nor(2, 256), [])
    assert whole.kept == text(whole.wrote)
    assert min(whole.flash.erases) >= 2
    for after in range(1, whole.flash.ops + 1):
        for how, seed in CUTS:
            run(SCRIPT, Nor(2, 256), [(after, how, seed)])


def test_a_second_cut_at_every_operation_behind_the_first() -> None:
    operations = run(SCRIPT, Nor(2, 256), []).flash.ops
    for after in range(1, operations + 1):
        for second in range(1, 7):
            for how in ("before", "head", "bits"):
                run(SCRIPT, Nor(2, 256), [(after, how, after), (second, how, second)])


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    cuts=st.lists(st.tuples(st.integers(1, 20), st.sampled_from([how for how, _ in CUTS]), st.integers(0, 2**32))),
)
def test_any_script_with_any_cuts(seed: int, cuts: list[tuple[int, str, int]]) -> None:
    chance = random.Random(seed)
    run([chance.choice(["write", "start", "start", "keep", "undo", "tell"]) for _ in range(30)], Nor(2, 256), cuts)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_begins_on_any_content(seed: int) -> None:
    run(SCRIPT, Nor(2, 256, fill=random.Random(seed).randbytes(512)), [])


def test_what_was_undone_never_comes_back() -> None:
    """However an erase ends that was cut: here it has reached nothing but what says that the content was undone."""

    class Partly(Nor):
        def ioctl(self, request: int, argument: int) -> int:
            if request != 6:
                return super().ioctl(request, argument)
            start = argument * self.size
            self.data[start + 14 : start + 20] = b"\xff" * 6
            raise PowerCut

    plain = Nor(2, 256)
    run(["write", "start", "undo"], plain, [])
    flash = Partly(2, 256, fill=bytes(plain.data))
    state = store.begin(flash, BASE)
    assert (store.read(state), state[NEWS]) == (None, schema.EVENT_CONFIG_ROLLED_BACK)
    with pytest.raises(PowerCut):
        store.write(state, text(2))
    assert store.read(store.begin(flash, BASE)) is None


def test_half_a_mark_is_made_whole() -> None:
    """Or a cell that is neither programmed nor not would read differently another day."""
    for mark in (16, 17):
        flash = Nor(2, 256)
        run(["write", "start"], flash, [])
        flash.data[mark] = 0xBF
        found = store.read(store.begin(flash, BASE))
        assert found == (text(1) if mark == 16 else None)
        assert flash.data[mark] == 0


def test_is_tried_by_two_starts_and_then_rolled_back() -> None:
    flash = Nor(2, 256)
    state = store.begin(flash, BASE)
    assert store.write(state, text(1))
    crc = crc32(text(1)) & 0xFFFF
    for _ in range(2):
        state = store.begin(flash, BASE)
        assert (state[TRIAL], state[NEWS], state[CRC]) == (1, schema.EVENT_CONFIG_TRIED, crc)
        store.told(state)
        assert store.read(state) == text(1)
    for _ in range(2):  # the second time because nobody was told the first time
        state = store.begin(flash, BASE)
        assert (state[TRIAL], state[NEWS], state[CRC]) == (0, schema.EVENT_CONFIG_ROLLED_BACK, crc)
        assert store.read(state) is None
    store.told(state)
    assert store.begin(flash, BASE)[NEWS] == 0


def test_a_newer_file_takes_the_place_of_what_was_written() -> None:
    flash = Nor(2, 256)
    run(["write", "start", "keep", "tell"], flash, [])
    assert store.read(store.begin(flash, BASE)) == text(1)
    assert store.read(store.begin(flash, 0)) == text(1), "a file that can't be read is not newer"
    state = store.begin(flash, BASE + 1)
    assert store.read(state) is None
    assert store.write(state, text(5))
    assert store.read(store.begin(flash, BASE + 1)) == text(5)


def test_flash_that_does_not_hold_data_refuses() -> None:
    class Worn(Nor):
        def writeblocks(self, block: int, buf: bytes, offset: int) -> None:
            super().writeblocks(block, buf, offset)
            self.data[block * self.size + 25] = 0xFF

    class Dead(Nor):
        def writeblocks(self, block: int, buf: bytes, offset: int) -> None:
            raise OSError(5)

        def readblocks(self, block: int, buf: bytearray, offset: int = 0) -> None:
            raise OSError(5)

    for flash in (Worn(2, 256), Dead(2, 256), None):
        state = store.begin(flash, BASE)
        assert change(state, FILE) == schema.RESULT_REFUSED
        assert store.read(state) is None


# What is asked


def parts(data: bytes, id: int = 7, size: int = 100, crc: int | None = None) -> list[bytes]:
    crc = crc32(data) if crc is None else crc
    return [struct.pack(">HHHI", id, i, len(data), crc) + data[i : i + size] for i in range(0, len(data), size)]


def change(state: list[Any], data: bytes, **options: Any) -> int:
    code = -1
    for part in parts(data, **options):
        code = store.change(state, part, lambda name: FILE)
    return code


GOOD = json.dumps({"address": 9, "name": "y" * 150}).encode()


def test_parts_are_gathered_in_order_and_again() -> None:
    state = store.begin(Nor(2, 512), BASE)
    a, b = parts(GOOD)
    take = [store.change(state, part, None) for part in (b, a, a, b)]
    assert take == [schema.RESULT_MISSING] * 3 + [schema.RESULT_APPLIED]
    assert store.read(state) == GOOD
    other = parts(text(3), id=8)
    assert [store.change(state, part, None) for part in (a, *other)][-1] == schema.RESULT_APPLIED
    assert store.read(state) == text(3), "another one begins anew, and the last one counts"


@pytest.mark.parametrize(
    ("data", "options", "code"),
    [
        (b"", {}, -1),
        (GOOD, {"crc": 5}, schema.RESULT_INVALID),
        (b"[]", {}, schema.RESULT_INVALID),
        (b'{"address": 1', {}, schema.RESULT_INVALID),
        (b'{"address": 0}', {}, schema.RESULT_INVALID),
        (b'{"lamp": {"dim": [["24:00", 1]]}}', {}, schema.RESULT_INVALID),
        (b"\xff\xfe", {}, schema.RESULT_INVALID),
        (b" " * 600, {}, schema.RESULT_REFUSED),
    ],
)
def test_what_is_not_sound_changes_nothing(data: bytes, options: dict[str, int], code: int) -> None:
    flash = Nor(2, 512)
    state = store.begin(flash, BASE)
    assert change(state, data, **options) == code
    assert flash.ops == 0
    assert store.read(state) is None


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 600), st.integers(0, 600), st.binary(max_size=40)), max_size=8))
def test_no_part_can_do_harm(given_parts: list[tuple[int, int, bytes]]) -> None:
    flash = Nor(2, 512)
    state = store.begin(flash, BASE)
    for at, total, data in given_parts:
        code = store.change(state, struct.pack(">HHHI", 1, at, total, 0) + data, None)
        assert code in (schema.RESULT_MISSING, schema.RESULT_INVALID, schema.RESULT_REFUSED)
    assert flash.ops == 0


def schedule(state: list[Any], *program: int | None) -> int:
    return store.change(state, program + (None,) * (16 - len(program)), lambda name: FILE)


def test_programs_are_put_in_replaced_and_taken_out() -> None:
    state = store.begin(Nor(2, 1024), BASE)
    assert schedule(state, 3, 0b1100000, 101, 1231, 1380, 40, 300, 100) == schema.RESULT_APPLIED
    assert schedule(state, 1, 127, 1224, 106, 0, 70) == schema.RESULT_APPLIED
    found = json.loads(store.read(state))
    assert found["address"] == 1, "the rest is as it was"
    assert [p["number"] for p in found["lamp"]["programs"]] == [1, 3], "the later one counts, so order matters"
    made = config.read(found)
    assert made.bad == []
    assert [p[:3] for p in made.programs] == [(127, 1224, 106), (96, 101, 1231)]
    assert tuple(made.programs[1][3]) == ((11 * 3600, 40), (17 * 3600, 100))
    assert schedule(state, 3, 1, 101, 1231, 60, 10) == schema.RESULT_APPLIED
    assert schedule(state, 1, 127, 101, 1231) == schema.RESULT_APPLIED
    (only,) = json.loads(store.read(state))["lamp"]["programs"]
    assert (only["number"], only["days"], only["dim"]) == (3, "mo", [["01:00", 10]])


@pytest.mark.parametrize("program", [(1, 0, 101, 1231, 0, 50), (1, 127, 132, 1231, 0, 50), (1, 127, 101, 1300, 0, 50)])
def test_a_program_that_makes_no_sense_is_refused(program: tuple[int, ...]) -> None:
    state = store.begin(Nor(2, 1024), BASE)
    assert schedule(state, *program) == schema.RESULT_INVALID
    assert store.read(state) is None
