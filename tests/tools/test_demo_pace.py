"""The demo's street in real time: a virtual clock that keeps to the true one, and a town whose configuration the daemon takes."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from felinar.cities import city
from felinar.config import load
from felinar.keys.place import open_keys
from felinar_demo.daemon import wait_until
from felinar_demo.pace import PacedClock
from felinar_demo.town import Town
from felinar_sim.flash import Nvs


def test_it_keeps_to_the_true_time_and_to_every_moment() -> None:
    clock = PacedClock()
    begin = clock.now_us
    seen: list[tuple[int, float]] = []

    def act(left: int) -> None:
        seen.append((clock.now_us - begin, time.time()))
        if left:
            clock.at(clock.now_us + 7000, lambda: act(left - 1))

    clock.at(begin + 20_000, lambda: act(10))
    clock.start()
    try:
        assert wait_until(lambda: len(seen) == 11, 20, 0.01)
        assert [at for at, _ in seen] == [20_000 + 7000 * i for i in range(11)], "its own moments, to the microsecond"
        assert all(true >= (begin + at) / 1e6 - 0.001 for at, true in seen), "never early"
        # From another thread, and by a descriptor.
        with clock.lock:
            clock.at(clock.now_us, lambda: seen.append((0, 0.0)))
        assert wait_until(lambda: len(seen) == 12, 20, 0.01)
        out, into = os.pipe()
        heard: list[tuple[bytes, int]] = []
        clock.watch(out, lambda: heard.append((os.read(out, 10), clock.now_us)))
        time.sleep(0.02)
        asked = time.time()
        os.write(into, b"hello")
        assert wait_until(lambda: bool(heard), 20, 0.01)
        assert heard[0][0] == b"hello"
        assert heard[0][1] / 1e6 >= asked - 0.001, "what comes from outside comes at its true time"
        clock.unwatch(out)
        os.close(out)
        os.close(into)
    finally:
        clock.stop()
    stood = clock.now_us
    time.sleep(0.01)
    assert clock.now_us == stood


def test_a_town_is_what_the_daemon_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FELINAR_SECRET", "")  # the town's own is forgotten afterwards
    with Town(tmp_path, city("oulu"), 2, 1, 1) as town:
        assert (list(town.on_air), list(town.wired), len(town)) == ([1, 2], [3], 3)
        config = load(town.config)
        assert [bridge.url for bridge in config.bridge] == [str(town.bridge)]
        assert [link.url for link in config.link] == [str(line) for line in town.lines]
        assert {node: about.name for node, about in config.nodes.items()} == {1: "Oulu 1", 2: "Oulu 2", 3: "Oulu 3"}
        assert all(line.exists() for line in (town.bridge, *town.lines))
        keys = open_keys(town.data)
        assert [keys.root(address) is not None for address in (1, 2, 3)] == [True, True, False]
        for pole in town:
            if pole.address in town.on_air:
                assert isinstance(pole.nvs, Nvs) and pole.nvs.get("felinar", "key", 2) == keys.root(pole.address)
        keys.close()
        assert wait_until(lambda: all(pole.running for pole in town), 30)
        assert wait_until(lambda: len({address for address, _, _ in town.appended()}) == 3, 60), (
            "each has kept something"
        )
    assert not any(pole.running for pole in town)
