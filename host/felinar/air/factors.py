"""Which spreading factor a bridge's nodes need. It is changed seldom, and by day: they all join anew for it."""

from __future__ import annotations

from collections.abc import Mapping

from felinar_air.host import factor
from felinar_air.plan import CYCLE, Superframe

from felinar.air.cell import Cell, Peer

FIRST = 7
"""Of a bridge that nothing is known of."""
LOOK_S = 60.0
RAISE_S = 1800.0
"""So long too many signals have to be weak before the spreading factor is raised,"""
LOWER_S = 86_400.0
"""and so long all have to be strong before it is lowered."""
HOURS = range(9, 13)
"""UTC: daylight in all of Europe in winter too, when nobody wants to command a lamp."""
FEW = 5
"""Of fewer nodes nothing is concluded."""
_RECENT_MS = 3_600_000
_SURE = 30  # 0.1 dB more than the margin that a lower factor must leave, so that it does not come and go


def wanted(cell: Cell, peers: Mapping[int, Peer]) -> int:
    """The spreading factor that a bridge's nodes are heard well enough at, by the newest SNR of each."""
    return factor([round(peer.snr * 10) for peer in peers.values() if peer.home is cell])


class Factors:
    """Bridges whose spreading factor is the host's to choose: `look` says when one is to be changed.

    One in fifty nodes may be weak, as `felinar_air.host.factor` has it. A factor is raised by as much as is needed, unless the
    nodes are more than its slots; it is lowered by one at a time.
    """

    def __init__(self, cells: list[Cell]) -> None:
        self._cells = cells
        self._looked = float("-inf")
        self._since: dict[Cell, tuple[int, float]] = {}

    def look(self, peers: Mapping[int, Peer], ms: int, mono: float, hour: int) -> list[tuple[Cell, int]]:
        """(bridge, spreading factor) of each that is to change now. `ms` is the host's time, `hour` of it, UTC."""
        if mono - self._looked < LOOK_S:
            return []
        self._looked = mono
        out = []
        for cell in self._cells:
            sf = self._better(cell, peers, ms)
            if sf == cell.frame.sf or not cell.ready:
                self._since.pop(cell, None)
                continue
            up = sf > cell.frame.sf
            last, since = self._since.get(cell, (sf, mono))
            if (last > cell.frame.sf) != up:
                since = mono
            self._since[cell] = sf, since
            if mono - since >= (RAISE_S if up else LOWER_S) and hour in HOURS:
                del self._since[cell]
                out.append((cell, sf))
        return out

    def _better(self, cell: Cell, peers: Mapping[int, Peer], ms: int) -> int:
        now = cell.frame.sf
        snrs = [round(peer.snr * 10) for peer in peers.values() if peer.home is cell and ms - peer.heard <= _RECENT_MS]
        if len(snrs) < FEW:
            return now
        sf = factor(snrs)
        if sf > now:
            while sf > now and len(cell.slots.of) > Superframe(sf, cell.number).slots * CYCLE:
                sf -= 1
            return sf
        return now - 1 if factor([snr - _SURE for snr in snrs]) < now else now
