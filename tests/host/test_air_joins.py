"""The host's side of the air: joins, slots and reports, acknowledged once they are durably stored."""

from __future__ import annotations

from pathlib import Path

from felinar.facts import Hello

from tests.host.air_bench import street


def test_a_lamp_joins_and_its_first_report_is_acknowledged_once_it_is_proven(tmp_path: Path) -> None:
    town, host = street(tmp_path)
    lamp = town.lamps[0]
    assert town.until(lambda: lamp.joins, 60) < 30
    hello = host.told(Hello)[0]
    assert (hello.node, hello.boot, hello.schema, hello.new) == (1, 1, 1, True)
    slot = host.air.peers[1].slot
    assert slot == lamp.access.slot
    lamp.report()
    town.until(lambda: host.stored(), 330)
    assert host.stored() == [(1, 1, 1, lamp.values(1))]
    # The next beacon has the bit; its key comes out two intervals later.
    assert lamp.pending
    assert 10 <= town.until(lambda: lamp.acked, 60) <= 40
    assert not lamp.pending
    assert lamp.base == (1, lamp.values(1))
    assert host.air.counts == {"acknowledged": 1}
    assert host.air.keyring.counts == {}
    assert not set(lamp.counts) - {"preempted"}
    assert host.air.peers[1].rssi == -90
    assert host.air.peers[1].snr == 4.5
