"""New keys over the air, between the wire's real ends: sealed or not at all, and in force once the node joined with it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from felinar.keys import Keyring, KeyStoreError, SqliteKeyStore
from felinar.keys.rekey import HOLDER, Rekeying, Step, order
from felinar_wire import WireError, core, join, schema
from felinar_wire.session import Session

ADDRESS, ZONE = 42, 0x8001


class Lamp:
    """A node: its root key on flash, its session in memory."""

    def __init__(self, root: bytes) -> None:
        self.root = root
        self.joins = 0
        self.zones: dict[int, bytes] = {}
        self.session: Session | None = None
        self.heard: list[int] = []

    def ask(self) -> bytes:
        self.joins += 1
        return bytes(join.request(self.root, ADDRESS, self.joins, schema.VERSION, 1))

    def enter(self, answer: bytes) -> None:
        self.session = join.accept(answer, self.root, ADDRESS, self.joins, schema.crc, {})[0]

    def hear(self, data: bytes, *, keeps: bool = True) -> int:
        """Take a REKEY; the number of the command."""
        assert self.session is not None
        kind, _, body = self.session.open(data)
        assert kind == schema.REKEY
        number, what, key = core.decode(core.LAYOUT[kind], body)
        if keeps and what == 0:
            self.root = key
        elif keeps:
            self.zones[what] = key
        self.heard.append(number)
        return int(number)


class Pair:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.start(create=True)
        self.lamp = Lamp(self.store.provision(ADDRESS))

    def start(self, *, create: bool = False) -> None:
        if not create:
            self.store.close()
        self.store = SqliteKeyStore(self.path, bytes(32), create=create, now=lambda: 1_800_000_000, machine=lambda: "m")
        self.keyring = Keyring(
            self.store,
            crc=lambda version: schema.crc,
            now=lambda: 5_000_000,
            anchor=lambda n: bytes(16),
            slot=lambda address: (1, 1),
        )
        numbers = count(100)
        self.rekeying = Rekeying(self.store, self.keyring, lambda address: next(numbers))

    def join(self) -> None:
        self.lamp.enter(self.rekeying.join(self.lamp.ask()))

    def speaks(self) -> bool:
        """Whether what the lamp says is believed."""
        assert self.lamp.session is not None
        return self.keyring.open(self.lamp.session.seal(schema.HEALTH, b"x")).body == b"x"


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    pair = Pair(tmp_path / "keys.db")
    yield pair
    pair.store.close()


def test_a_rotation(pair: Pair) -> None:
    pair.join()
    old = pair.lamp.root
    order(pair.store, ADDRESS)
    assert (pair.rekeying.due(), pair.rekeying.step(ADDRESS)) == ([ADDRESS], Step.ORDERED)
    number = pair.lamp.hear(pair.rekeying.frame(ADDRESS, sealed=True))
    assert pair.rekeying.step(ADDRESS) == Step.SENT
    assert pair.lamp.root == pair.store.pending_key(ADDRESS, HOLDER) != old
    assert pair.store.root(ADDRESS) == old
    assert pair.rekeying.result(ADDRESS, number, schema.RESULT_APPLIED) == Step.APPLIED
    assert pair.rekeying.due() == []
    assert pair.speaks()  # the session goes on until the next join
    pair.join()
    assert pair.store.root(ADDRESS) == pair.lamp.root
    assert pair.store.pending() == []
    assert pair.rekeying.step(ADDRESS) == Step.NONE
    assert pair.speaks()
    with pytest.raises(WireError, match="tag"):
        pair.rekeying.join(bytes(join.request(old, ADDRESS, 9, schema.VERSION, 1)))


def test_never_in_clear(pair: Pair) -> None:
    with pytest.raises(KeyStoreError, match="no sealed session, and a key is never sent in clear"):
        order(pair.store, ADDRESS)
    with pytest.raises(KeyStoreError, match="has no key"):
        order(pair.store, 7)
    pair.join()
    order(pair.store, ADDRESS)
    key = pair.store.pending_key(ADDRESS, HOLDER)
    for send in (lambda: pair.rekeying.frame(ADDRESS, sealed=False), lambda: pair.rekeying.zone_frame(ADDRESS, ZONE, sealed=False)):  # fmt: skip
        with pytest.raises(KeyStoreError, match="on a line that speaks in clear: whoever listens") as caught:
            send()
        assert "felinar flash --replace" in caught.value.remedy
    assert pair.rekeying.step(ADDRESS) == Step.ORDERED
    assert key is not None
    assert key not in pair.rekeying.frame(ADDRESS, sealed=True)


def test_every_message_may_be_lost(pair: Pair) -> None:
    pair.join()
    order(pair.store, ADDRESS)
    order(pair.store, ADDRESS)
    pair.rekeying.frame(ADDRESS, sealed=True)  # lost on its way
    number = pair.lamp.hear(pair.rekeying.frame(ADDRESS, sealed=True))  # its answer is lost
    assert pair.lamp.heard == [100]
    assert number == 100
    pair.start()  # and the host is started anew
    assert pair.rekeying.due() == [ADDRESS]
    pair.join()
    assert pair.store.root(ADDRESS) == pair.lamp.root
    assert pair.speaks()


def test_a_node_that_has_not_kept_it_gets_it_again(pair: Pair) -> None:
    pair.join()
    order(pair.store, ADDRESS)
    number = pair.lamp.hear(pair.rekeying.frame(ADDRESS, sealed=True), keeps=False)
    pair.rekeying.result(ADDRESS, number, schema.RESULT_APPLIED)
    key = pair.store.pending_key(ADDRESS, HOLDER)
    pair.join()  # under the old key, after a cut of the power
    assert pair.rekeying.due() == [ADDRESS]
    pair.lamp.hear(pair.rekeying.frame(ADDRESS, sealed=True))
    assert pair.lamp.root == key
    pair.join()
    assert pair.store.root(ADDRESS) == key


def test_what_a_node_can_not_have_taken_is_dropped(pair: Pair) -> None:
    pair.join()
    order(pair.store, ADDRESS)
    number = pair.lamp.hear(pair.rekeying.frame(ADDRESS, sealed=True), keeps=False)
    assert pair.rekeying.result(ADDRESS, number + 1, schema.RESULT_INVALID) == Step.SENT
    assert pair.rekeying.result(ADDRESS, number, schema.RESULT_INVALID) == Step.NONE
    assert pair.store.pending() == []
    with pytest.raises(KeyStoreError, match="No new key is ordered"):
        pair.rekeying.frame(ADDRESS, sealed=True)
    pair.join()
    assert pair.speaks()


@pytest.mark.parametrize("keeps", [True, False])
def test_after_a_failure_of_its_storage_both_keys_are_good(pair: Pair, keeps: bool) -> None:
    pair.join()
    order(pair.store, ADDRESS)
    number = pair.lamp.hear(pair.rekeying.frame(ADDRESS, sealed=True), keeps=keeps)
    assert pair.rekeying.result(ADDRESS, number, schema.RESULT_REFUSED) == Step.ORDERED
    assert pair.rekeying.due() == [ADDRESS]
    again = pair.lamp.hear(pair.rekeying.frame(ADDRESS, sealed=True), keeps=keeps)
    assert again != number  # or the node would give its first answer once more
    pair.join()
    assert pair.speaks()
    assert (pair.rekeying.due() == []) == keeps


def test_how_far_it_is_outlives_the_host(pair: Pair) -> None:
    pair.join()
    order(pair.store, ADDRESS)
    number = pair.lamp.hear(pair.rekeying.frame(ADDRESS, sealed=True))
    pair.start()
    assert pair.rekeying.step(ADDRESS) == Step.SENT
    number = pair.lamp.hear(pair.rekeying.frame(ADDRESS, sealed=True))
    pair.rekeying.result(ADDRESS, number, schema.RESULT_APPLIED)
    pair.start()
    assert (pair.rekeying.due(), pair.rekeying.applied()) == ([], [ADDRESS])
    pair.join()
    assert pair.rekeying.applied() == []


def test_a_board_is_the_same_one_under_its_next_key(pair: Pair) -> None:
    pair.join()
    board = pair.store.uid(ADDRESS)
    for _ in range(2):
        order(pair.store, ADDRESS)
        pair.lamp.hear(pair.rekeying.frame(ADDRESS, sealed=True))
        pair.join()
        assert pair.store.root(ADDRESS) == pair.lamp.root
        assert pair.store.uid(ADDRESS) == board
    pair.store.prepare(ADDRESS, "246f28aabbcc")
    pair.store.activate(ADDRESS, "246f28aabbcc")
    assert pair.store.uid(ADDRESS) not in (None, board)  # flashed
    pair.store.remove(ADDRESS)
    assert pair.store.uid(ADDRESS) is None


def test_a_killed_host_between_key_and_answer(pair: Pair) -> None:
    pair.join()
    order(pair.store, ADDRESS)
    pair.lamp.hear(pair.rekeying.frame(ADDRESS, sealed=True))
    request = pair.lamp.ask()
    pair.store.activate(ADDRESS, HOLDER)
    pair.start()
    pair.lamp.enter(pair.rekeying.join(request))
    assert pair.speaks()


def test_without_a_session_it_waits(pair: Pair) -> None:
    pair.join()
    order(pair.store, ADDRESS)
    pair.store.invalidate()
    pair.start()
    with pytest.raises(KeyStoreError, match=r"Nothing can be sealed for node 42 now \(session\)"):
        pair.rekeying.frame(ADDRESS, sealed=True)
    assert pair.rekeying.step(ADDRESS) == Step.ORDERED


def test_forged_joins_change_nothing(pair: Pair) -> None:
    pair.join()
    order(pair.store, ADDRESS)
    good = bytes(join.request(bytes(16), ADDRESS, 5, schema.VERSION, 1))
    for data in (good, good[:-1], b"", b"\x70\0\x2a\0\x05"):
        with pytest.raises(WireError):
            pair.rekeying.join(data)
    assert pair.rekeying.due() == [ADDRESS]


def test_a_zone_s_key(pair: Pair) -> None:
    pair.join()
    pair.lamp.hear(pair.rekeying.zone_frame(ADDRESS, ZONE, sealed=True))
    assert pair.lamp.zones == {ZONE: pair.store.zone_key(ZONE)}
    assert pair.rekeying.zones_due({ADDRESS: {ZONE}, 7: {}}) == [(ADDRESS, ZONE)]
    pair.rekeying.result(ADDRESS, 100, schema.RESULT_APPLIED)
    assert pair.rekeying.zones_due({ADDRESS: {ZONE}}) == []
    pair.start()
    assert pair.rekeying.zones_due({ADDRESS: {ZONE}}) == []
    pair.store.rotate_zone(ZONE)
    assert pair.rekeying.zones_due({ADDRESS: {ZONE}}) == [(ADDRESS, ZONE)]
    pair.lamp.hear(pair.rekeying.zone_frame(ADDRESS, ZONE, sealed=True))
    pair.store.rotate_zone(ZONE)  # while its answer is on its way
    pair.rekeying.result(ADDRESS, 100, schema.RESULT_APPLIED)
    assert pair.rekeying.zones_due({ADDRESS: {ZONE}}) == [(ADDRESS, ZONE)]
    pair.lamp.hear(pair.rekeying.zone_frame(ADDRESS, ZONE, sealed=True))
    pair.rekeying.result(ADDRESS, 101, schema.RESULT_APPLIED)
    assert pair.rekeying.zones_due({ADDRESS: {ZONE}}) == []
    pair.store.provision(ADDRESS)  # its next board has no zone's key
    assert pair.rekeying.zones_due({ADDRESS: {ZONE}}) == [(ADDRESS, ZONE)]
    with pytest.raises(KeyStoreError, match="no zone"):
        pair.rekeying.zone_frame(ADDRESS, 0, sealed=True)


def test_groups_by_name_get_an_address_that_lasts(pair: Pair) -> None:
    pair.store.zone_key(0x8001)
    assert [pair.store.name_zone(name) for name in ("Centru", "piata", "CENTRU ")] == [0x8002, 0x8003, 0x8002]
    pair.start()
    assert pair.store.zone_names() == {"centru": 0x8002, "piata": 0x8003}
