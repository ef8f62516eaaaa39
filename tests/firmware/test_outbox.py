"""The outbox on a NOR flash that loses power at every operation: nothing kept is lost, nothing taken comes back."""

from __future__ import annotations

import random
from array import array
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.firmware.loader import node
from tests.firmware.nor import Nor, PowerCut

outbox = node("outbox")
Identity = tuple[int, int]
REPORT, EVENT = 0x00, 0x02
CUTS = [("before", 0), ("after", 0), ("head", 0), ("tail", 0), ("bits", 1), ("bits", 2)]


@dataclass
class Node:
    """What the application knows: which appends returned, which acknowledgements did, and what was under way."""

    flash: Nor
    kept: dict[Identity, tuple[int, bytes]] = field(default_factory=dict)
    acknowledged: set[Identity] = field(default_factory=set)
    maybe_kept: dict[Identity, tuple[int, bytes]] = field(default_factory=dict)
    maybe_acknowledged: set[Identity] = field(default_factory=set)
    boot: int = 0
    seq: int = 0
    box: Any = None

    def start(self) -> None:
        self.boot += 1
        self.seq = 0
        self.box = outbox.Outbox(self.flash)

    def append(self, kind: int, body: bytes) -> None:
        while self.box._waiting[(self.box._gen + 1) % self.flash.blocks]:
            self.acknowledge(8, -1)  # a full ring is another test's matter
        self.seq += 1
        identity = (self.boot, self.seq)
        self.maybe_kept[identity] = (kind, body)
        self.box.append(kind, self.seq, self.boot, body)
        del self.maybe_kept[identity]
        self.kept[identity] = (kind, body)

    def acknowledge(self, take: int, hole: int) -> None:
        """The host has `take` of the oldest records, but for number `hole`; it says so as the wire does."""
        seen = self.box.peek(take)
        if not seen:
            return
        boot = seen[0][1]
        base = seen[0][2] & ~31
        have = {seq for i, (_, b, seq, _) in enumerate(seen) if b == boot and i != hole and 0 <= seq - base < 32}
        bitmap = sum(1 << seq - base for seq in have)
        self.maybe_acknowledged = {(boot, seq) for seq in have}
        self.box.acknowledge(boot, base, bitmap)
        self.acknowledged |= self.maybe_acknowledged
        self.maybe_acknowledged = set()

    def step(self, step: tuple[Any, ...]) -> None:
        getattr(self, step[0])(*step[1:])

    def tidy(self) -> None:
        self.box.tidy()

    def check(self) -> None:
        """Read it all back from a copy of the flash, by peek and acknowledge alone."""
        copy = Nor(self.flash.blocks, self.flash.size, fill=bytes(self.flash.data))
        box = outbox.Outbox(copy)
        found = pending_of(box)
        must = {i: r for i, r in self.kept.items() if i not in self.acknowledged | self.maybe_acknowledged}
        may = {i: r for i, r in {**self.kept, **self.maybe_kept}.items() if i not in self.acknowledged}
        assert must.items() <= found.items(), "an append had returned, and its record is gone"
        assert found.items() <= may.items(), "a record that was acknowledged, or was never made"
        reports = [identity for identity, (kind, _) in found.items() if kind == REPORT]
        assert reports == sorted(reports), "not oldest first"
        assert box.dropped == 0
        # What a cut left undecided is decided now, one way or the other.
        for identity in list(self.maybe_kept):
            if identity in found:
                self.kept[identity] = self.maybe_kept[identity]
        self.maybe_kept = {}
        self.acknowledged |= {i for i in self.maybe_acknowledged if i not in found}
        self.maybe_acknowledged = set()


def pending_of(box: Any) -> dict[Identity, tuple[int, bytes]]:
    found: dict[Identity, tuple[int, bytes]] = {}
    while records := box.peek(8):
        assert box.pending >= len(records)
        for kind, boot, seq, body in records:
            assert (boot, seq) not in found, "handed out twice"
            found[boot, seq] = (kind, body)
            assert box.acknowledge(boot, seq, 1) == 1
    assert box.pending == 0
    return found


def script(seed: int, steps: int) -> list[tuple[Any, ...]]:
    """Appends, acknowledgements with holes, idle time and clean restarts, with the ring turning several times."""
    chance = random.Random(seed)
    out: list[tuple[Any, ...]] = []
    for _ in range(steps):
        pick = chance.random()
        if pick < 0.5:
            kind = EVENT if chance.random() < 0.2 else REPORT
            out.append(("append", kind, chance.randbytes(8 if kind == EVENT else chance.randrange(24, 34))))
        elif pick < 0.85:
            out.append(("acknowledge", chance.randrange(1, 7), chance.randrange(6)))
        elif pick < 0.96:
            out.append(("tidy",))
        else:
            out.append(("start",))
    return out


def run(steps: list[tuple[Any, ...]], flash: Nor, cuts: list[tuple[int, str, int]]) -> Node:
    """Run a script; each cut is (operations after the last one, how, seed), and the node starts again after it."""
    lamp = Node(flash)
    left = list(cuts)

    def arm() -> None:
        flash.cut_at = 0
        if left:
            after, flash.how, flash.seed = left.pop(0)
            flash.cut_at = flash.ops + after

    arm()
    todo: list[tuple[Any, ...]] = [("start",), *steps]
    while todo:
        try:
            lamp.step(todo[0])
            todo.pop(0)
        except PowerCut:
            if todo[0] != ("start",):
                todo[0] = ("start",)
            lamp.check()
            arm()
    lamp.check()
    return lamp


def test_a_power_cut_at_every_operation() -> None:
    steps = script(seed=7, steps=60)
    whole = run(steps, Nor(4, 256), [])
    assert whole.flash.erases[0] >= 2, "the ring did not turn"
    for after in range(1, whole.flash.ops + 1):
        for how, seed in CUTS:
            run(steps, Nor(4, 256), [(after, how, seed)])


def test_a_second_cut_while_starting_again() -> None:
    steps = script(seed=8, steps=24)
    operations = run(steps, Nor(3, 256), []).flash.ops
    for after in range(1, operations + 1):
        for second in range(1, 5):
            for how in ("head", "tail", "bits"):
                run(steps, Nor(3, 256), [(after, how, after), (second, how, second)])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(0, 2**32),
    cuts=st.lists(st.tuples(st.integers(1, 60), st.sampled_from([how for how, _ in CUTS]), st.integers(0, 2**32))),
)
def test_any_script_with_any_cuts(seed: int, cuts: list[tuple[int, str, int]]) -> None:
    run(script(seed, 80), Nor(5, 256), cuts)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_begins_on_any_content(seed: int) -> None:
    fill = random.Random(seed).randbytes(4 * 256)
    run(script(seed, 40), Nor(4, 256, fill=fill), [])


def test_a_full_ring_drops_the_oldest_and_counts_them() -> None:
    box = outbox.Outbox(Nor(4, 256))
    for seq in range(1, 101):
        box.append(REPORT, seq, 1, bytes(30))
    left = [seq for _, _, seq, _ in box.peek(32)]
    assert left == list(range(101 - len(left), 101))
    assert box.pending == len(left)
    assert box.dropped == 100 - len(left)
    assert len(left) >= 3 * 6, "three of four blocks hold six records each"


def test_a_full_ring_drops_nothing_more_in_a_cut() -> None:
    """Whatever operation is cut while the ring is full, what is left is the newest, without a gap."""
    for after in range(1, 12):
        for how, seed in CUTS:
            flash = Nor(4, 256)
            box = outbox.Outbox(flash)
            for seq in range(1, 25):
                box.append(REPORT, seq, 1, bytes(30))
            flash.cut_at, flash.how, flash.seed = flash.ops + after, how, seed
            seq = 24
            try:
                while seq < 40:
                    box.append(REPORT, seq + 1, 1, bytes(30))
                    seq += 1
            except PowerCut:
                pass
            found = list(pending_of(outbox.Outbox(flash)))
            assert found[-1] in ((1, seq), (1, seq + 1))
            assert found == [(1, n) for n in range(found[-1][1] - len(found) + 1, found[-1][1] + 1)]
            assert len(found) >= 17


def test_ten_days_of_reports_fit_128_kb() -> None:
    flash = Nor(32, 4096)
    box = outbox.Outbox(flash)
    for seq in range(1, 6001):  # at any time, also just after the oldest block was dropped
        box.append(REPORT, seq, 1, bytes(32))
        box.tidy()
        if box.dropped:
            assert box.pending >= 10 * 288
    assert box.dropped
    assert max(flash.erases) - min(flash.erases) <= 1, "wear is not level"
    again = outbox.Outbox(flash)
    assert again.pending == box.pending
    assert again.last_boot == 1


def test_idle_time_erases_ahead_so_that_an_append_does_not_wait() -> None:
    flash = Nor(4, 256)
    box = outbox.Outbox(flash)
    assert box.tidy()
    for seq in range(1, 60):
        erased = sum(flash.erases)
        box.append(REPORT, seq, 1, bytes(30))
        assert sum(flash.erases) == erased, "an append erased a block"
        box.acknowledge(1, seq, 1)
        box.tidy()
        assert not box.tidy()
    assert box.free == 3 or box.free == 4


def test_an_acknowledgement_reaches_only_its_boot() -> None:
    box = outbox.Outbox(Nor(4, 256))
    for boot in (1, 2, 3):
        for seq in (1, 2):
            box.append(REPORT, seq, boot, bytes((boot, seq)))
    assert box.acknowledge(2, 0, 0x1F) == 2
    assert [(boot, seq) for _, boot, seq, _ in box.peek(9)] == [(1, 1), (1, 2), (3, 1), (3, 2)]
    assert box.acknowledge(2, 5, 0xFFFFFFFF) == 0
    assert box.acknowledge(9, 0, 0xFFFFFFFF) == 0


def test_takes_what_the_bits_say_and_nothing_else() -> None:
    box = outbox.Outbox(Nor(8, 1024))
    for seq in range(1, 101):
        box.append(REPORT, seq, 1, bytes(8))
    assert box.acknowledge(1, 0, 0xFFFFFFFC) == 30
    assert [seq for _, _, seq, _ in box.peek(3)] == [1, 32, 33], "the first has not arrived"
    assert box.acknowledge(1, 32, 0xFFFFFFFF) == 32
    assert box.acknowledge(1, 32, 0xFFFFFFFF) == 0
    assert [seq for _, _, seq, _ in box.peek(3)] == [1, 64, 65]
    assert box.pending == 100 - 62


def test_what_happened_is_told_before_old_reports() -> None:
    flash = Nor(16, 1024)
    box = outbox.Outbox(flash)
    for seq in range(1, 301):
        box.append(EVENT if seq in (5, 250, 290) else REPORT, seq, 1, bytes(8))
    for again in (box, outbox.Outbox(flash)):  # after a restart as well
        assert [seq for _, _, seq, _ in again.peek(6)] == [5, 250, 290, 1, 2, 3]
        assert again.oldest()[2] == 1
    reads = flash.reads
    assert box.acknowledge(1, 256, 1 << 34) == 0, "bit 34 is none of 32"
    assert box.acknowledge(1, 288, 1 << 2) == 1
    assert box.acknowledge(1, 224, 1 << 26) == 1
    assert flash.reads - reads < 400, "the whole log was read"
    assert [seq for _, _, seq, _ in box.peek(8)] == [5, 1, 2, 3, 4, 6, 7, 8]
    for seq in range(301, 321):
        box.append(EVENT, seq, 1, b"")
    assert [seq for _, _, seq, _ in box.peek(10)] == [*range(313, 321), 1, 2], "a flood of events starves no report"
    assert [seq for _, _, seq, _ in outbox.Outbox(flash).peek(10)] == [*range(313, 321), 1, 2]


def test_forty_days_of_reports_fit_512_kb() -> None:
    box = outbox.Outbox(Nor(128, 4096))
    for seq in range(1, 40 * 288 + 1):
        box.append(REPORT, seq, 1, bytes(32))
    assert (box.pending, box.dropped) == (40 * 288, 0)


def test_a_boot_number_far_ahead_or_behind_is_kept() -> None:
    box = outbox.Outbox(Nor(8, 256))
    for boot in (1, 256, 257, 65535, 1):
        box.append(EVENT, 1, boot, b"x")
    assert [boot for _, boot, _, _ in box.peek(9)] == [1, 256, 257, 65535, 1]


def test_flash_that_rots_loses_only_what_it_hit() -> None:
    flash = Nor(4, 256)
    box = outbox.Outbox(flash)
    for seq in range(1, 13):
        box.append(REPORT, seq, 1, bytes(range(30)))
    flash.data[12 + 40 + 20] ^= 4  # the second record of the first block
    assert [seq for _, _, seq, _ in box.peek(20)] == [1, *range(3, 13)]
    assert (box.pending, box.dropped) == (11, 1)
    assert list(pending_of(outbox.Outbox(flash))) == [(1, n) for n in (1, *range(3, 13))]


def test_flash_that_does_not_take_a_bit_is_gone_round() -> None:
    class Worn(Nor):
        def writeblocks(self, block: int, buf: bytes, offset: int) -> None:
            super().writeblocks(block, buf, offset)
            if block == 1:
                self.data[block * self.size + 60] = 0xFF

    flash = Worn(4, 256)
    box = outbox.Outbox(flash)
    for seq in range(1, 16):
        box.append(REPORT, seq, 1, bytes(30))
    assert [seq for _, _, seq, _ in box.peek(20)] == list(range(1, 16))
    assert list(pending_of(outbox.Outbox(flash))) == [(1, n) for n in range(1, 16)]


def test_says_what_it_cannot_keep() -> None:
    class Dead(Nor):
        def writeblocks(self, block: int, buf: bytes, offset: int) -> None:
            raise OSError(5)

    with pytest.raises(outbox.OutboxError, match="flash"):
        outbox.Outbox(Dead(4, 256)).append(REPORT, 1, 1, b"")
    box = outbox.Outbox(Nor(4, 256))
    with pytest.raises(outbox.OutboxError, match="body"):
        box.append(REPORT, 1, 1, bytes(outbox.MAX_BODY + 1))
    with pytest.raises(outbox.OutboxError, match="body"):
        box.append(15, 1, 1, b"")
    with pytest.raises(outbox.OutboxError, match="flash"):
        outbox.Outbox(Nor(2, 256))
    assert box.pending == 0
    assert isinstance(box._waiting, array)
