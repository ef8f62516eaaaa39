"""The same lamps and ether with random access: ALOHA as LoRaWAN's, and with listening before talking."""

from __future__ import annotations

import heapq
import random

from felinar_air import plan
from felinar_sim.ether import FLOOR_DBM, LIMIT_DB, Ether, Transmission
from felinar_wire import codec, schema

from felinar_bench import corpus
from felinar_bench.air_lamp import NODE_DBM, PERIOD, place

OVERHEAD = 13
"""Bytes of a LoRaWAN 1.0 frame around what it carries."""
TRIES = 8
"""Times that a busy channel is waited for."""


class Random:
    """Lamps that send each report as soon as it is made, whole, unacknowledged, `copies` times, at their own phases."""

    def __init__(self, seed: int, nodes: int, sf: int, *, listen: bool, copies: int = 1, loss: float = 0.2) -> None:
        self.rng = random.Random(seed)
        self.ether = Ether(seed)
        self.sf = sf
        self.listen = listen
        self.copies = copies
        self.loss = loss
        self.khz = plan.Superframe(sf, 0).uplink
        self.bridge = self.ether.station(0, 0, 2.0)
        least = LIMIT_DB[sf] + 6 - NODE_DBM + FLOOR_DBM
        self.stations = [self.ether.station(*place(self.rng, self.ether, 0, 1200.0, least)) for _ in range(nodes)]
        self.ether.tune(self.bridge, self.khz, sf, 0)
        self.made = self.sent = self.given_up = 0
        self.stored: dict[tuple[int, int], int] = {}
        self.sizes = [[len(codec.encode(schema.REPORT, row)) + OVERHEAD for row in day] for day in corpus.nodes()]

    def run(self, seconds: int) -> None:
        """One report of each lamp in each period, at a time of the period that is its own and wanders by a second."""
        period = PERIOD * 1_000_000
        events: list[tuple[int, int, int, int, int, Transmission | None]] = []
        phases = [self.rng.randrange(period) for _ in self.stations]
        for i, phase in enumerate(phases):
            heapq.heappush(events, (phase, i, 0, 0, 0, None))
        ether = self.ether
        end = seconds * 1_000_000
        while events:
            now, i, seq, copy, tries, frame = heapq.heappop(events)
            station = self.stations[i]
            if frame is not None:
                if self.bridge in ether.end(frame).stations:
                    self.stored.setdefault((i, seq), now - (phases[i] + seq * period))
                if copy + 1 < self.copies:
                    pause = self.rng.randrange(1_000_000, 5_000_000)
                    heapq.heappush(events, (now + pause, i, seq, copy + 1, 0, None))
                continue
            if copy == tries == 0:
                if now >= end:
                    continue
                self.made += 1
                following = phases[i] + (seq + 1) * period + self.rng.randrange(1_000_000)
                heapq.heappush(events, (following, i, seq + 1, 0, 0, None))
            if self.listen and ether.active(station, self.khz, self.sf, now):
                if tries < TRIES:
                    pause = self.rng.randrange(100_000 << min(tries, 5))
                    heapq.heappush(events, (now + 1 + pause, i, seq, copy, tries + 1, None))
                else:
                    self.given_up += 1
                continue
            if ether.sends(station):
                continue
            size = self.sizes[i % len(self.sizes)][seq % len(self.sizes[0])]
            self.sent += 1
            frame = ether.begin(station, now, self.khz, self.sf, NODE_DBM, None, size, self.loss)
            heapq.heappush(events, (frame.end, i, seq, copy, tries, frame))
