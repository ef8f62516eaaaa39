"""Keys are changed while a street is on the air: of nodes, of zones, lost frames and a daemon that ends in between."""

from __future__ import annotations

from pathlib import Path

import pytest
from felinar import api
from felinar.errors import CommandError, FelinarError
from felinar.keys import SqliteKeyStore
from felinar.keys.rekey import HOLDER, Step, order
from felinar.provision.ledger import Ledger
from felinar.provision.plan import PlanEntry
from felinar_wire import frame, join, schema

from tests.host.air_bench import SECRET, Host, Lamp, Street, street
from tests.host.test_air_commands import Order, give, ready
from tests.host.test_air_service import Town, in_town

ZONE = 0x8001


def command(host: Host) -> SqliteKeyStore:
    """The key store as a command beside the daemon has it."""
    return SqliteKeyStore(
        host.folder / "keys.db", SECRET, role="keys", now=lambda: host.street.now().unix, machine=lambda: "machine",
        random=host.street.rng.randbytes,
    )  # fmt: skip


def rotate(host: Host, address: int = 1) -> None:
    store = command(host)
    order(store, address)
    store.close()


def words(host: Host, address: int) -> list[str]:
    return [said for said, node in host.told_of_keys if node == address]


def reports(town: Street, host: Host, lamp: Lamp) -> None:
    """What the lamp says is believed and acknowledged."""
    before = len(lamp.acked)
    lamp.report()
    town.until(lambda: len(lamp.acked) > before, 400)
    assert not lamp.pending


def refused(town: Street, host: Host, old: bytes, lamp: Lamp) -> None:
    """A JOIN_REQ under another key is answered no more."""
    before = host.air.keyring.counts.get("tag", 0)
    lamp.transmit(join.request(old, lamp.address, lamp.fired[0] + 5, schema.VERSION, 1))
    town.run(5)
    assert host.air.keyring.counts["tag"] == before + 1


def test_a_node_gets_its_key_and_all_join_once_so_that_it_is_in_force(tmp_path: Path) -> None:
    town, host = street(tmp_path, lamps=6)
    ready(town)
    lamp, other = town.lamps[:2]
    boards = {address: peer.uid for address, peer in host.air.peers.items()}
    reports(town, host, lamp)
    old = lamp.root
    rotate(host)
    rotate(host, 2)
    assert town.until(lambda: lamp.keyed and other.keyed, 30) < 10
    assert host.keys.pending_key(1, HOLDER) == lamp.root != old == host.keys.root(1)
    town.run(6)
    assert [host.air.renewal.step(address) for address in (1, 2, 3)] == [Step.APPLIED, Step.APPLIED, Step.NONE]
    reports(town, host, lamp)  # the session goes on
    town.until(lambda: host.keys.pending() == [], 400)
    assert host.keys.root(1) == lamp.root
    town.until(lambda: all(each.joins == 2 for each in town.lamps), 200)
    town.run(3700)
    assert [each.joins for each in town.lamps] == [2] * 6
    assert words(host, 1) == [
        "a new key is ordered", "a new key was sent", "a node has its new key, which is in force once it has joined",
        "a new key is in force",
    ]  # fmt: skip
    assert lamp.keyed == [0]
    reports(town, host, lamp)
    assert {address: peer.uid for address, peer in host.air.peers.items()} == boards
    assert len(host.store.boards()) == 6
    assert {row[:3] for row in host.stored()} >= {(1, 1, seq) for seq in range(1, lamp.made + 1)}
    refused(town, host, old, lamp)
    assert set(host.air.counts) <= {"acknowledged", "tag", "copies"}
    assert host.said == []


def test_only_the_nodes_of_that_bridge_join_and_not_more_than_once_an_hour(tmp_path: Path) -> None:
    town, host = street(tmp_path, lamps=0, bridges=2)
    places = [town.bridges[i] for i in (0, 0, 0, 1)]
    lamps = [Lamp(town, i + 1, host.keys.provision(i + 1), [place]) for i, place in enumerate(places)]
    ready(town)
    rotate(host, 1)
    town.until(lambda: host.air.renewal.step(1) == Step.APPLIED, 60)
    town.run(60)
    rotate(host, 2)
    town.until(lambda: host.air.renewal.step(2) == Step.APPLIED, 60)
    town.run(100)
    assert [lamp.joins for lamp in lamps] == [1, 1, 1, 1]  # there may be more to come
    town.until(lambda: host.keys.pending() == [], 300)
    town.until(lambda: [lamp.joins for lamp in lamps] == [2, 2, 2, 1], 120)
    rotate(host, 3)
    rotate(host, 4)
    town.until(lambda: host.air.renewal.step(4) == Step.NONE, 600)
    town.run(1500)
    assert host.air.renewal.step(3) == Step.APPLIED
    assert town.until(lambda: host.air.renewal.step(3) == Step.NONE, 2400) > 800
    town.until(lambda: [lamp.joins for lamp in lamps] == [3, 3, 3, 2], 120)


def test_it_is_sent_until_it_has_come_and_a_lost_answer_does_no_harm(tmp_path: Path) -> None:
    town, host = street(tmp_path, lamps=2)
    ready(town)
    lamp = town.lamps[0]
    lamp.keeps = False
    rotate(host)
    town.run(200)
    assert host.air.renewal.step(1) == Step.SENT
    sent = sum(data[0] & 63 == schema.REKEY for _, data in town.bridges[0].sent)
    assert 5 <= sent <= 12  # a while, then with a pause
    give(host, Order(1, 9))  # meanwhile it is reached as ever
    town.until(lambda: lamp.orders, 3)
    lamp.keeps = True
    town.until(lambda: lamp.keyed, 300)
    town.until(lambda: host.air.renewal.step(1) == Step.APPLIED, 10)

    # Its answers are lost, and it is switched off and on.
    other = town.lamps[1]
    say, other.say = other.say, lambda kind, body: None  # type: ignore[method-assign]
    rotate(host, 2)
    town.until(lambda: other.keyed, 30)
    assert host.air.renewal.step(2) == Step.SENT
    other.say = say  # type: ignore[method-assign]
    other.start()
    town.until(lambda: host.air.renewal.step(2) == Step.NONE, 120)
    assert host.keys.root(2) == other.root
    reports(town, host, other)


@pytest.mark.parametrize("keeps", [True, False])
def test_a_daemon_that_ends_between_sending_and_joining(tmp_path: Path, keeps: bool) -> None:
    town, host = street(tmp_path, seed=3)
    ready(town)
    lamp = town.lamps[0]
    lamp.keeps = keeps
    rotate(host)
    town.until(lambda: host.air.renewal.step(1) != Step.ORDERED, 30)
    old, joins = lamp.root, lamp.joins
    town.run(3)
    host.stop()
    lamp.keeps = True
    host.start()
    assert host.air.renewal.step(1) == (Step.APPLIED if keeps else Step.SENT)
    town.until(lambda: lamp.joins > joins, 300)  # the map has another version
    if not keeps:
        assert host.keys.root(1) == old  # under the old one: it has not got it, so it is sent again
        town.until(lambda: lamp.keyed, 60)
        assert lamp.root != old
    town.until(lambda: host.keys.pending() == [], 400)
    assert host.keys.root(1) == lamp.root
    town.until(lambda: lamp.joined_at > 0 and lamp.session is not None)
    reports(town, host, lamp)


def test_no_number_is_one_that_a_lamp_s_commands_have(tmp_path: Path) -> None:
    town, host = street(tmp_path)
    ready(town)
    lamp = town.lamps[0]
    host.air.renewal._last = {1: 0xFFFE}.get
    numbers = [host.air.renewal._number(1) for _ in range(2000)]
    assert all(0x7FF0 <= number <= 0xC000 for number in numbers)
    assert all(len(set(numbers[i : i + 8])) == 8 for i in range(len(numbers) - 8))
    host.members = {1: {ZONE}}
    rotate(host)
    town.until(lambda: len(lamp.keyed) == 2, 60)
    assert sorted(lamp.keyed) == [0, ZONE]
    assert len(lamp._done) == 2


def test_the_nodes_of_a_group_get_its_key_and_again_when_it_is_another_one(tmp_path: Path) -> None:
    town, host = street(tmp_path, lamps=5, bridges=2)
    host.members = {1: {ZONE}, 2: {ZONE}, 3: {ZONE}, 4: {ZONE + 1}, 77: {ZONE}}
    ready(town)
    town.until(lambda: all(lamp.zones for lamp in town.lamps[:4]), 60)
    assert [set(lamp.zones) for lamp in town.lamps] == [{ZONE}, {ZONE}, {ZONE}, {ZONE + 1}, set()]
    host.air.group(ZONE, schema.MODE_ON, 100, 0, 600, 0)
    host.act()
    town.run(3)
    assert [[what for _, what, _ in lamp.groups] for lamp in town.lamps] == [["at once"]] * 3 + [[]] * 2
    host.stop()
    host.start()
    town.run(300)
    assert [lamp.keyed for lamp in town.lamps] == [[ZONE], [ZONE], [ZONE], [ZONE + 1], []]  # once, whoever asks

    store = command(host)
    new = store.rotate_zone(ZONE)
    store.close()
    town.until(lambda: all(lamp.zones[ZONE] == new for lamp in town.lamps[:3]), 60)
    town.run(10)
    assert {at: host.air.renewal._rekeying.zones_due({at: {ZONE}}) for at in (1, 2, 3)} == {1: [], 2: [], 3: []}
    assert [lamp.joins for lamp in town.lamps] == [2] * 5  # with the daemon's start; nobody has to join for a zone
    for lamp in town.lamps:
        lamp.groups.clear()
    host.air.group(ZONE, schema.MODE_ON, 100, 0, 600, 0)
    host.act()
    town.run(3)
    assert [[what for _, what, _ in lamp.groups] for lamp in town.lamps[:3]] == [["at once"]] * 3


def test_a_revoked_node_is_gone_within_seconds(tmp_path: Path) -> None:
    town, host = street(tmp_path, lamps=3)
    gone: list[int] = []
    host.air._changed = lambda cell: gone.append(cell.number)
    ready(town)
    thief = town.lamps[0]
    reports(town, host, thief)
    rotate(host)  # even with a key on its way
    town.run(8)
    thief.answers = False
    give(host, Order(1, 5))
    stored = len(host.stored())
    store = command(host)
    store.remove(1)
    store.close()
    thief.report()
    town.until(lambda: 1 not in host.air.peers, 10)
    cell = host.air.cells[0]
    assert (gone, 1 in cell.present, 1 in cell.slots.of, len(cell.slots.of)) == ([0], False, False, 2)
    assert host.air._sending == {}
    sent = len(town.bridges[0].sent)
    town.run(400)
    assert not any(frame.unpack(data, 1)[1] == 1 for _, data in town.bridges[0].sent[sent:])
    thief.start()
    town.run(200)
    assert len(host.stored()) == stored
    assert host.air.keyring.counts["session"] >= 1
    assert host.air.keyring.counts["address"] >= 1
    assert words(host, 1)[-1] == "a node's key is out of use: its session has ended, its slot is free"
    for lamp in town.lamps[1:]:
        reports(town, host, lamp)


def test_a_board_that_was_flashed_anew_gets_its_group_s_key(tmp_path: Path) -> None:
    town, host = street(tmp_path)
    host.members = {1: {ZONE}}
    ready(town)
    town.until(lambda: town.lamps[0].zones, 60)
    town.lamps.pop().access.joining = False
    store = command(host)
    root = store.prepare(1, "246f28aabbcc")
    store.activate(1, "246f28aabbcc")
    store.close()
    town.run(10)
    assert 1 not in host.air.peers
    lamp = Lamp(town, 1, root, list(town.bridges))
    town.until(lambda: lamp.zones, 120)
    assert lamp.zones == {ZONE: host.keys.zone_key(ZONE)}
    reports(town, host, lamp)


def test_when_its_own_store_fails_nothing_is_believed_and_the_street_goes_on(tmp_path: Path) -> None:
    town, host = street(tmp_path)
    host.members = {1: {ZONE}}
    ready(town)

    def broken() -> dict[int, set[int]]:
        raise FelinarError("The ledger can't be read.")

    host.air.renewal._members = broken
    town.run(12)
    assert host.air.counts["keys"] >= 2
    assert set(host.said) == {"The ledger can't be read."}
    reports(town, host, town.lamps[0])
    rotate(host)  # a rotation needs no ledger
    town.until(lambda: town.lamps[0].keyed, 30)


def pole(number: int) -> PlanEntry:
    return PlanEntry(f"B-{number}", f"Pole {number}", 47.7, 26.6, group="Centru" if number < 3 else "")


@in_town(1)
async def test_a_daemon_with_a_plan_and_commands_beside_it(town: Town) -> None:
    folder = town.folder
    ledger = Ledger(folder / "flash.db")
    ledger.merge([pole(number) for number in (1, 2, 3)])
    for number in (1, 2, 3):
        ledger.take(f"246f28aabb{number:02x}")
    lamps = [town.lamp(number) for number in (1, 2, 3)]
    await town.until(lambda: all(lamp.joins for lamp in lamps))
    await town.until(lambda: all(lamp.zones for lamp in lamps[:2]), 90)
    await town.run(3)
    said = town.hub.group_lamp("centru", api.LampOrder("on"))
    assert (said.group, said.bridges) == (0x8001, ["bridge 0"])
    await town.run(3)
    assert [[what for _, what, _ in lamp.groups] for lamp in lamps] == [["at once"], ["at once"], []]
    for wrong in ("nowhere", "0", 65280):
        with pytest.raises(CommandError, match=f"'{wrong}' is no group"):
            town.hub.group_lamp(wrong, api.LampOrder("on"))
    assert (town.log.count("a new key was sent"), town.log.count("a node has its zone's key")) == (2, 2)

    # A number that a command has is none of a REKEY's.
    first = await town.hub.lamp(1, api.LampOrder("dim", 60))
    await town.until(lambda: town.hub.commands.totals.get("acknowledged"), 10)
    numbers = list(lamps[0]._done)
    assert len(numbers) == 2
    assert numbers[1] == town.hub.last_number(1)
    assert lamps[0].orders[-1][1] == schema.LAMP_SET

    waits = await town.hub.lamp(3, api.LampOrder("dim", 60, for_s=300))
    lamps[2].answers = False
    store = SqliteKeyStore(folder / "keys.db", SECRET, role="keys", now=lambda: town.street.now().unix)
    store.remove(3)
    store.close()
    await town.until(lambda: 3 not in town.air.air.peers, 10)
    node = next(node for node in town.hub.nodes() if node.node == 3)
    assert (node.online, node.link, node.radio) == (False, None, None)
    assert town.log.count("a node's key is out of use: its session has ended, its slot is free") == 1
    assert first.id < waits.id
    sent = len(town.bridges[0].sent)
    await town.run(30)
    assert not any(frame.unpack(data, 1)[1] == 3 for _, data in town.bridges[0].sent[sent:])
    ledger.close()
