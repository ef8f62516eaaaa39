"""Which spreading factor the host chooses for a bridge, and when it changes one."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from felinar.air.cell import Cell, Peer
from felinar.air.factors import FEW, HOURS, LOOK_S, LOWER_S, RAISE_S, Factors, wanted
from felinar_air.host import LIMITS, MARGIN

NOON = HOURS[0]
ENOUGH = [(limit + MARGIN) / 10 for limit in LIMITS]
"""dB from which on SF7 to SF10 do."""


class Bridge:
    """One bridge, and time that passes."""

    def __init__(self, sf: int, snrs: Iterable[float]) -> None:
        self.cell = Cell(0, sf, 1)
        self.cell.ready = True
        self.peers: dict[int, Peer] = {}
        self.mono = 0.0
        self.factors = Factors([self.cell])
        self.hears(snrs)

    def hears(self, snrs: Iterable[float]) -> None:
        for address, snr in enumerate(snrs, 1):
            peer = self.peers.setdefault(address, Peer(address, "", 1, 1, self.cell))
            peer.home, peer.snr = self.cell, snr
            if address not in self.cell.slots.of:
                self.cell.slots.assign(address, 1)

    def change(self, seconds: float, hour: int = NOON) -> int | None:
        """The factor that it is to change to within so long, None when it is not."""
        end = self.mono + seconds
        while self.mono <= end:
            for peer in self.peers.values():
                peer.heard = round(self.mono * 1000)
            for cell, sf in self.factors.look(self.peers, round(self.mono * 1000), self.mono, hour):
                assert cell is self.cell
                return sf
            self.mono += LOOK_S
        return None


@pytest.mark.parametrize("sf", [7, 8, 9, 10])
def test_it_is_the_lowest_that_leaves_a_margin(sf: int) -> None:
    bridge = Bridge(7, [ENOUGH[sf - 7]] * 20)
    assert wanted(bridge.cell, bridge.peers) == sf
    assert bridge.change(RAISE_S + LOOK_S) == (sf if sf > 7 else None)


def test_it_is_raised_only_when_signals_stay_weak() -> None:
    bridge = Bridge(7, [ENOUGH[1]] * 20)
    assert bridge.change(RAISE_S - 2 * LOOK_S) is None
    bridge.hears([ENOUGH[0]] * 20)
    assert bridge.change(LOOK_S) is None
    bridge.hears([ENOUGH[1]] * 20)
    assert bridge.change(RAISE_S - 2 * LOOK_S) is None, "it begins to count anew"
    assert bridge.change(4 * LOOK_S) == 8


def test_one_in_fifty_may_be_weak() -> None:
    assert Bridge(7, [ENOUGH[3]] + [5.0] * 50).change(2 * RAISE_S) is None
    assert Bridge(7, [ENOUGH[3]] * 2 + [5.0] * 50).change(2 * RAISE_S) == 10


def test_it_is_lowered_by_one_after_a_day_and_with_room_to_spare() -> None:
    assert Bridge(9, [ENOUGH[1]] * 20).change(2 * LOWER_S) is None, "it would come and go"
    bridge = Bridge(9, [10.0] * 20)
    assert bridge.change(LOWER_S - 2 * LOOK_S) is None
    assert bridge.change(4 * LOOK_S) == 8
    bridge.cell.retune(8)
    bridge.hears([10.0] * 20)
    assert bridge.change(LOWER_S - 2 * LOOK_S) is None
    assert bridge.change(4 * LOOK_S) == 7
    bridge.cell.retune(7)
    bridge.hears([10.0] * 20)
    assert bridge.change(2 * LOWER_S) is None


def test_it_waits_for_the_day() -> None:
    bridge = Bridge(7, [ENOUGH[1]] * 20)
    assert bridge.change(LOWER_S, hour=HOURS[0] - 1) is None
    assert bridge.change(LOOK_S, hour=HOURS[-1]) == 8


def test_of_few_nodes_or_of_a_bridge_that_is_away_nothing_is_concluded() -> None:
    assert Bridge(7, [ENOUGH[3]] * (FEW - 1)).change(2 * RAISE_S) is None
    away = Bridge(7, [ENOUGH[3]] * 20)
    away.cell.ready = False
    assert away.change(2 * RAISE_S) is None
    old = Bridge(7, [ENOUGH[3]] * 20)
    assert old.factors.look(old.peers, 4_000_000, RAISE_S, NOON) == []
    assert old.factors.look(old.peers, 4_000_000, 3 * RAISE_S, NOON) == [], "they were heard over an hour ago"


def test_it_is_not_raised_beyond_the_slots_that_there_are() -> None:
    assert Bridge(7, [ENOUGH[3]] * 600).change(2 * RAISE_S) == 8, "SF9 has 510 slots"
    assert Bridge(7, [ENOUGH[3]] * 1000).change(2 * RAISE_S) is None


def test_a_bridge_that_is_retuned_begins_a_new_map() -> None:
    cell = Bridge(7, [5.0] * 10).cell
    cell.present.add(1)
    cell.retune(10)
    assert (cell.frame.sf, cell.slots.frame.sf, cell.down.slots.frame.sf) == (10, 10, 10)
    assert cell.slots.version == 2 and not cell.slots.of and not cell.present
