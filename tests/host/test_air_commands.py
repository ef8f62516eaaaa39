"""What goes down: commands to one lamp until it answers, commands to groups, and what a bridge may not send."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from pathlib import Path

from felinar.air.orders import REPEATS
from felinar.facts import OrderAnswered, OrderExpired, OrderSent
from felinar_air.plan import INTERVAL, air_ms
from felinar_wire import schema, tesla

from tests.host.air_bench import Host, Street, street

DAY_S = 86_400
GROUP = 0xE001


@dataclass
class Order:
    """A command to a lamp, as the hub has them."""

    node: int
    id: int
    until: float = 1e12
    kind: int = schema.LAMP_SET

    def values(self, unix: float) -> list[int] | None:
        return None if unix >= self.until else [self.id, schema.MODE_DIM, 60, 0, 1800, 0]


def ready(town: Street) -> None:
    town.until(lambda: all(lamp.joins for lamp in town.lamps), 300)
    town.run(120)


def give(host: Host, order: Order) -> None:
    host.air.order(host.air.peers[order.node].way, order)
    host.act()


def test_a_command_is_repeated_until_it_is_answered_and_done_once(tmp_path: Path) -> None:
    town, host = street(tmp_path, lamps=4, seed=2)
    ready(town)
    town.loss = 0.2
    switched, answered = [], []
    for i in range(200):
        town.run(town.rng.uniform(3, 13))
        lamp = town.lamps[i % 4]
        began = town.ms
        give(host, Order(lamp.address, i + 1))
        town.until(lambda i=i: any(fact.id == i + 1 for fact in host.told(OrderAnswered)), 60)  # type: ignore[misc]
        switched.append(lamp.orders[-1][0] - began)
        answered.append(town.ms - began)
    assert statistics.quantiles(switched, n=100)[98] <= 2000
    assert statistics.quantiles(answered, n=100)[98] <= 4000
    assert [values[0] for lamp in town.lamps for _, _, values in lamp.orders] == [
        i + 1 for place in range(4) for i in range(place, 200, 4)
    ]
    assert len(host.told(OrderAnswered)) == 200
    assert {fact.code for fact in host.told(OrderAnswered)} == {schema.RESULT_APPLIED}
    assert len(host.told(OrderSent)) > 240  # repeats, each under a seal of its own
    assert "replay" not in host.air.keyring.counts


def test_a_command_that_is_answered_was_sent_once(tmp_path: Path) -> None:
    town, host = street(tmp_path)
    ready(town)
    for i in range(20):
        town.run(town.rng.uniform(3, 13))
        give(host, Order(1, i + 1))
        town.run(2)
    assert len(host.told(OrderAnswered)) == 20
    assert len(host.told(OrderSent)) == 20
    assert "stray_result" not in host.air.counts


def test_a_dead_lamp_is_asked_ever_more_rarely_until_the_command_expires(tmp_path: Path) -> None:
    town, host = street(tmp_path)
    ready(town)
    town.lamps[0].answers = False
    give(host, Order(1, 9, until=town.now().unix + 600))
    town.run(3)
    assert len(host.told(OrderSent)) in (7, 8)
    town.run(700)
    # The last gap is for good: 13 in 110 s, then one a minute.
    assert len(host.told(OrderSent)) in (len(REPEATS) + 1 + 8, len(REPEATS) + 1 + 7)
    assert host.told(OrderExpired) == [OrderExpired(1, 9)]
    assert len(host.air.cells[0].down) == 0


def test_a_command_that_is_withdrawn_is_not_sent_any_more(tmp_path: Path) -> None:
    town, host = street(tmp_path)
    ready(town)
    town.lamps[0].answers = False
    give(host, Order(1, 9))
    town.run(1)
    host.air.withdraw(1, 9)
    sent = len(host.told(OrderSent))
    town.run(120)
    assert len(host.told(OrderSent)) <= sent + 1
    assert host.told(OrderExpired) == []


def test_on_for_a_group_acts_at_once_and_is_confirmed(tmp_path: Path) -> None:
    town, host = street(tmp_path, lamps=3, bridges=2)
    key = host.keys.zone_key(GROUP)
    for lamp in town.lamps:
        lamp.zones = {GROUP: key}
    ready(town)
    began = town.ms
    group = host.air.group(GROUP, schema.MODE_ON, 100, 0, 1800, 0)
    host.act()
    town.until(lambda: all(lamp.groups for lamp in town.lamps), 10)
    for lamp in town.lamps:
        when, what, body = lamp.groups[0]
        assert what == "at once"
        assert when - began < 1000
        assert (int.from_bytes(body[:2], "big"), body[2], body[3]) == (group.id, schema.MODE_ON, 100)
        assert int.from_bytes(body[5:7], "big") == 180
    town.run(70)
    for lamp in town.lamps:
        whats = [what for _, what, _ in lamp.groups]
        assert "verified" in whats
        assert "take back" not in whats
    # Both bridges say it, and the same frame again within an interval, so that no lamp has to hold it twice.
    said = [[data for _, data in bridge.sent if data[0] & 63 == schema.GROUP_LAMP] for bridge in town.bridges]
    assert len(said[0]) >= 5
    assert len(set(said[0])) < len(said[0])
    assert {*said[0]} & {*said[1]}
    assert group.sent == len(said[0]) + len(said[1])


def test_dim_for_a_group_waits_for_its_key(tmp_path: Path) -> None:
    town, host = street(tmp_path)
    lamp = town.lamps[0]
    lamp.zones = {GROUP: host.keys.zone_key(GROUP)}
    ready(town)
    began = town.ms
    host.air.group(GROUP, schema.MODE_DIM, 40, 5, 600, 0)
    host.act()
    town.until(lambda: lamp.groups, 60)
    assert {what for _, what, _ in lamp.groups} == {"verified"}
    # The key of the interval before is good for 7 s, and comes with the next beacon, or that after one that is lost.
    assert 3_000 < lamp.groups[0][0] - began <= 23_000
    assert lamp.groups[0][0] // INTERVAL > began // INTERVAL
    assert lamp.groups[0][2][2:5] == bytes((schema.MODE_DIM, 40, 5))


def test_a_later_command_to_a_group_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    town, host = street(tmp_path)
    ready(town)
    first = host.air.group(GROUP, schema.MODE_DIM, 40, 0, 600, 0)
    host.act()
    town.run(1)
    second = host.air.group(GROUP, schema.MODE_ON, 100, 0, 600, 0)
    host.act()
    sent = first.sent
    town.run(90)
    assert first.sent <= sent + 1
    assert second.sent >= 5
    assert len(host.air.cells[0].down) == 0


def test_the_next_day_is_announced_and_nobody_has_to_join_again(tmp_path: Path) -> None:
    town, host = street(tmp_path, lamps=2)
    town.start = town.start // DAY_S * DAY_S + DAY_S - 900
    host.stop()
    host.start()
    ready(town)
    lamp = town.lamps[0]
    assert lamp.group
    town.until(lambda: lamp.group and lamp.group.chain.next[0], 320)
    town.run(900)
    assert town.now().unix % DAY_S < 3600
    assert lamp.group.chain.at > lamp.group.chain.next[0]
    assert [lamp.joins for lamp in town.lamps] == [1, 1]
    assert not {"gap", "chain", "tag"} & set(lamp.counts)


def test_beacons_stay_within_the_duty_cycle(tmp_path: Path) -> None:
    town, host = street(tmp_path)
    town.run(4200)
    cell = host.air.cells[0]
    sent = [(at, data) for at, data in town.bridges[0].sent if at > town.ms - 3_600_000]
    air = sum(air_ms(7, len(data)) for _, data in sent)
    assert 718 <= len(sent) <= 722
    assert air < 360_000
    assert cell.duty(round(town.ms)) * 360_000 >= air
    for at, data in sent:
        n = round(at) // tesla.INTERVAL
        assert data[3] == n & 255, "a beacon in another interval than the one that it was made for"


def test_a_bridge_that_is_full_or_late_loses_nothing_but_time(tmp_path: Path) -> None:
    town, host = street(tmp_path)
    ready(town)
    town.bridges[0].fill = 3
    give(host, Order(1, 5))
    town.until(lambda: host.told(OrderAnswered), 30)
    assert host.air.cells[0].counts["full"] == 3


def test_a_host_whose_clock_runs_back_says_nothing_until_it_is_past(tmp_path: Path) -> None:
    town, host = street(tmp_path)
    ready(town)
    town.start -= 45
    sent = len(town.bridges[0].sent)
    town.run(20)
    # No key that is out is used again.
    assert not [1 for _, data in town.bridges[0].sent[sent:] if data[0] & 63 == schema.BEACON]
    assert host.air.counts["clock_step"] == 1
    assert any("clock was set by -45.0 s" in words for words in host.said)
    town.run(60)
    assert [1 for _, data in town.bridges[0].sent[sent:] if data[0] & 63 == schema.BEACON]


def test_a_host_whose_clock_was_not_set_says_nothing(tmp_path: Path) -> None:
    town, host = street(tmp_path)
    town.start = 1_740_000_000
    town.run(30)
    assert town.bridges[0].sent == []
    assert host.air.counts["clock"] > 0
