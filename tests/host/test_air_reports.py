"""What nodes say on the air is stored once, and its bit is set only then: whole, as a difference, in batches, over two bridges."""

from __future__ import annotations

from pathlib import Path

import pytest
from felinar.facts import Health, Hello, Kept
from felinar_wire import schema

from tests.host.air_bench import PERIOD, Host, Lamp, Street, street


def joined(town: Street, limit_s: float = 120) -> None:
    town.until(lambda: all(lamp.joins for lamp in town.lamps), limit_s)


def reports(town: Street, lamp: Lamp, count: int) -> None:
    """A report each period, as often as that."""
    for _ in range(count):
        lamp.report()
        town.run(PERIOD)


def right(host: Host, lamp: Lamp) -> list[int]:
    """The seqs that are stored of a lamp, whose values are what they were and none of which is there twice."""
    found = [(seq, values) for node, boot, seq, values in host.stored() if (node, boot) == (lamp.address, lamp.boot)]
    assert all(values == lamp.values(seq) for seq, values in found)
    seqs = [seq for seq, _ in found]
    assert len(set(seqs)) == len(seqs)
    return sorted(seqs)


def test_differences_are_stored_as_whole_bodies(tmp_path: Path) -> None:
    town, host = street(tmp_path)
    lamp = town.lamps[0]
    joined(town)
    reports(town, lamp, 6)
    town.run(60)
    assert right(host, lamp) == [1, 2, 3, 4, 5, 6]
    kinds = [(kind, payload[0] & 15) for kind, payload in lamp.heard]
    assert [lag for _, lag in kinds] == [0, 1, 1, 1, 1, 1]
    assert not lamp.pending
    assert lamp.whole_asked == 0


def test_lost_beacons_cost_a_repeat_and_nothing_else(tmp_path: Path) -> None:
    town, host = street(tmp_path, seed=3)
    lamp = town.lamps[0]
    joined(town)
    town.beacon_loss = 0.7
    town.loss = 0.2
    reports(town, lamp, 24)
    town.beacon_loss = town.loss = 0.0
    reports(town, lamp, 2)
    town.run(60)
    assert right(host, lamp) == list(range(1, 27))
    assert not lamp.pending
    kept = [(fact.boot, fact.seq) for fact in host.told(Kept)]
    assert len(kept) > len(set(kept))  # something was said again, and is there once


def test_what_was_missed_comes_in_batches(tmp_path: Path) -> None:
    town, host = street(tmp_path)
    lamp = town.lamps[0]
    joined(town)
    lamp.report(12)
    town.run(4 * PERIOD)
    assert right(host, lamp) == list(range(1, 13))
    assert schema.BATCH in [kind for kind, _ in lamp.heard]
    assert not lamp.pending


@pytest.mark.parametrize("stored", [True, False])
def test_a_base_from_before_the_daemon_is_looked_up_or_the_node_is_asked_for_all(tmp_path: Path, stored: bool) -> None:
    town, host = street(tmp_path)
    lamp = town.lamps[0]
    joined(town)
    reports(town, lamp, 2)
    town.run(60)
    assert lamp.base and lamp.base[0] == 2
    if stored:
        host.air.peers[1].bases.clear()
    else:
        # The database was put away: a report that had been acknowledged is not there any more.
        host.stop()
        (tmp_path / "felinar.sqlite3").unlink()
        host.start()
        town.until(lambda: lamp.joins == 2, 700)
        lamp.base = (lamp.base[0], lamp.values(2))
    lamp.report()
    town.until(lambda: not lamp.pending, 3 * PERIOD)
    assert lamp.whole_asked == (0 if stored else 1)
    assert host.air.counts.get("base", 0) == (0 if stored else 1)
    assert right(host, lamp)[-1] == 3


def test_a_daemon_that_starts_again_gives_its_nodes_new_slots(tmp_path: Path) -> None:
    town, host = street(tmp_path, lamps=3)
    joined(town)
    for lamp in town.lamps:
        lamp.report()
    town.run(PERIOD + 60)
    version = host.versions[0]
    host.stop()
    town.run(20)
    host.start()
    assert host.versions[0] == version % 255 + 1
    # A map of another version voids the slots: nobody takes a bit for his own that is another's.
    town.until(lambda: all(lamp.joins == 2 for lamp in town.lamps), 900)
    assert all(lamp.counts["void"] == 1 for lamp in town.lamps)
    for lamp in town.lamps:
        lamp.report()
    town.run(PERIOD + 60)
    for lamp in town.lamps:
        assert right(host, lamp) == [1, 2]
        assert not lamp.pending
    # What had been known of them is still: no HELLO of another board.
    assert {view.uid for view in host.store.boards()} == {hello.uid for hello in host.told(Hello)}
    assert len(host.store.boards()) == 3


def test_a_key_store_from_a_backup_ends_all_sessions(tmp_path: Path) -> None:
    town, host = street(tmp_path)
    lamp = town.lamps[0]
    joined(town)
    host.stop()
    (tmp_path / "keys.db.token").unlink()
    host.start()
    assert host.keys.discarded
    lamp.report()
    town.until(lambda: lamp.joins == 2, 900)
    town.until(lambda: not lamp.pending, 2 * PERIOD)
    assert right(host, lamp) == [1]


def test_a_store_that_refuses_leaves_the_bit_unset(tmp_path: Path) -> None:
    town, host = street(tmp_path)
    lamp = town.lamps[0]
    joined(town)
    host.refuses = True
    reports(town, lamp, 3)
    assert len(lamp.heard) == 3
    assert lamp.acked == []
    assert sorted(lamp.pending) == [1, 2, 3]
    host.refuses = False
    town.run(PERIOD + 60)
    assert right(host, lamp) == [1, 2, 3]
    assert not lamp.pending
    assert host.air.counts["unstored"] >= 2


def test_a_key_store_that_refuses_leaves_frames_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    town, host = street(tmp_path)
    lamp = town.lamps[0]
    joined(town)
    lamp.report()

    with monkeypatch.context() as patch:
        patch.setattr(host.keys, "_write", lambda statements: (_ for _ in ()).throw(_full()))
        town.run(PERIOD)
        assert host.air.counts["unkept"] >= 1
        assert host.said
        assert host.stored() == []
        assert lamp.acked == []
    town.run(PERIOD + 60)
    assert right(host, lamp) == [1]


def _full() -> Exception:
    from felinar.keys import KeyStoreError

    return KeyStoreError("The key store can't be written.", "Is the disk full?")


def test_two_bridges_that_hear_a_lamp_store_what_it_says_once(tmp_path: Path) -> None:
    # 0 and 3 are on one channel, so each frame of a lamp comes twice.
    town, host = street(tmp_path, bridges=2, lamps=2, plan=[(0, 7), (3, 7)])
    joined(town, 200)
    town.run(120)  # until nobody has a slot of the bridge that it does not follow
    for _ in range(5):
        for lamp in town.lamps:
            lamp.report()
        town.run(PERIOD)
    town.run(60)
    for lamp in town.lamps:
        assert right(host, lamp) == [1, 2, 3, 4, 5]
        assert not lamp.pending
    assert host.air.counts["copies"] >= 10
    assert "replay" not in host.air.keyring.counts
    assert all(view.duplicates == 0 for view in host.store.boards())


def test_a_lamp_is_acknowledged_by_its_own_bridge_when_only_another_hears_it(tmp_path: Path) -> None:
    town, host = street(tmp_path, bridges=2, plan=[(0, 7), (3, 7)])
    lamp = town.lamps[0]
    joined(town)
    town.run(120)
    assert host.air.peers[1].home
    home = host.air.peers[1].home.number
    assert lamp.access.frame.bridge == home
    own = town.bridges[0 if home == 0 else 1]
    own.deaf = True
    reports(town, lamp, 2)
    town.run(60)
    assert right(host, lamp) == [1, 2]
    assert not lamp.pending
    assert host.air.peers[1].way.number == home


def test_the_bridge_that_a_lamp_does_not_follow_is_not_its_home_for_long(tmp_path: Path) -> None:
    """Both hear its JOIN_REQ, but it hears one of them: where the other one's slot is no use, it gets one of its own."""
    town, host = street(tmp_path, bridges=2, plan=[(0, 7), (3, 7)])
    lamp = town.lamps[0]
    lamp.near = [town.bridges[1]]
    # Bridge 0 hears it, and is the first to tell; its beacons do not come so far, but its answers do.
    receive = town.bridges[1].receive
    far, near = town.bridges

    def both(data: bytes, sf: int, khz: int, air: int, rssi: int = -90) -> None:
        far.receive(data, sf, khz, air, -120)
        receive(data, sf, khz, air, rssi)

    near.receive = both  # type: ignore[method-assign]
    sent = far._sent

    def answers(id: int, data: bytes, sf: int, air: int) -> None:
        if data[0] & 63 == schema.JOIN_ACC:
            lamp.hear(data, town.us - air, sf)
        sent(id, data, sf, air)

    far._sent = answers  # type: ignore[method-assign]
    town.until(lambda: host.air.peers.get(1) and host.air.peers[1].home is host.air.cells[1], 600)
    town.run(60)
    lamp.report()
    town.until(lambda: not lamp.pending, 2 * PERIOD)
    assert right(host, lamp) == [1]


def test_a_bridge_that_is_unplugged_and_comes_back(tmp_path: Path) -> None:
    town, host = street(tmp_path)
    lamp = town.lamps[0]
    bridge = town.bridges[0]
    joined(town)
    reports(town, lamp, 1)
    host.pull(bridge)
    assert not host.air.cells[0].ready
    assert not host.air.cells[0].present
    reports(town, lamp, 1)
    bridge.restart()
    host.open(bridge, 0)
    town.until(lambda: not lamp.pending, 4 * PERIOD)
    assert right(host, lamp) == [1, 2]
    assert 1 in host.air.cells[0].present


def test_a_bridge_that_loses_its_power_is_told_again_what_to_hear(tmp_path: Path) -> None:
    town, host = street(tmp_path)
    lamp = town.lamps[0]
    bridge = town.bridges[0]
    joined(town)
    bridge.restart()
    town.run(5)
    assert bridge.hear == (7, 868_100_000)
    reports(town, lamp, 1)
    town.run(60)
    assert right(host, lamp) == [1]


def test_an_alarm_is_answered_at_once(tmp_path: Path) -> None:
    town, host = street(tmp_path)
    lamp = town.lamps[0]
    joined(town)
    town.run(30)
    seq = lamp.event()
    assert town.until(lambda: lamp.acked, 30) < 15
    assert lamp.acked[0][1] == [seq]
    assert [(node, boot, at) for node, boot, at, _ in host.stored(schema.EVENT)] == [(1, 1, seq)]


def test_a_node_tells_who_it_is_and_how_it_is(tmp_path: Path) -> None:
    town, host = street(tmp_path)
    joined(town)
    town.run(90)
    assert host.told(Hello)[-1].firmware == "1.4.2"
    assert host.told(Hello)[-1].reset == schema.RESET_POWER
    host.air.ask_health(1)
    host.act()
    assert town.until(lambda: host.told(Health), 10) < 2
    assert host.told(Health)[0].values["boot"] == 1
    assert len(host.air.cells[0].down) == 0


def test_a_new_key_is_another_board(tmp_path: Path) -> None:
    town, host = street(tmp_path)
    lamp = town.lamps[0]
    joined(town)
    reports(town, lamp, 1)
    lamp.root = host.keys.provision(1)
    host.air.keyring.forget(1)
    lamp.fired.clear()
    lamp.boot = 0
    lamp.start()
    town.until(lambda: lamp.joins == 2, 200)
    lamp.report()
    town.run(PERIOD + 60)
    assert len(host.store.boards()) == 2
    assert [seq for _, _, seq, _ in host.stored()] == [1, 1]


def test_strangers_and_broken_frames_are_counted(tmp_path: Path) -> None:
    town, host = street(tmp_path)
    joined(town)
    cell = host.air.cells[0]
    now = town.ms
    stranger = Lamp(town, 77, bytes(16), [])
    from felinar_wire import join

    host.air.heard(cell, join.request(stranger.root, 77, 1, 1, 1), now, -100, 0.0)
    host.air.heard(cell, bytes((0x40, 0, 1, 0, 9)) + bytes(20), now, -100, 0.0)
    host.air.heard(cell, b"\x40", now, -100, 0.0)
    host.air.heard(cell, b"", now, -100, 0.0)
    assert host.air.settle() == []
    assert host.air.counts == {"address": 1, "tag": 1, "short": 2}
    assert 77 not in host.air.peers
