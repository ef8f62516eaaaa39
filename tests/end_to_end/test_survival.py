"""The real daemon and the real firmware on a real-time street: kills, power cuts, pulled cables and garbage cost nothing.

The street stands where it is midnight now, so that the lamps have to be lit while the clocks are true.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from felinar import api
from felinar.client import Client
from felinar.errors import FelinarError
from felinar_build import app as application
from felinar_demo.daemon import Daemon, wait_until
from felinar_sim.clock import RealClock
from felinar_sim.conditions import Position
from felinar_sim.street import Street

SEED = 20261124
BLOWS = 10

Identity = tuple[int, int, int]


def midnight() -> Position:
    """A place on the tropic where the sun stands lowest now, whatever the time of the year."""
    longitude = -((time.time() % 86400) / 240.0)
    return Position(20.0, longitude if longitude >= -180 else longitude + 360)


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("build") / "app"
    application.build(application.ROOT / "boards" / "sim" / "board.toml", out, mpy=True)
    return out


@contextmanager
def running(tmp_path: Path, app: Path, nodes: int) -> Iterator[tuple[Street, Daemon]]:
    """A street at midnight, a report a second, and the daemon on its lines."""
    with Street(
        nodes, app=app, clock=RealClock(), folder=tmp_path / "street", position=midnight(), zone="UTC", report_s=1,
        lines="pty", seed=SEED,
    ) as street:  # fmt: skip
        street.start()
        links = [f"[[link]]\nurl = {json.dumps(str(street.folder / (pole.name + '.tty')))}\n" for pole in street]
        config = tmp_path / "felinar.toml"
        config.write_text(f"data_dir = {json.dumps(str(tmp_path / 'data'))}\n" + "\n".join(links))
        daemon = Daemon(config, tmp_path / "data", tmp_path / "daemon.log")
        with daemon:
            yield street, daemon


def stored(client: Client, nodes: int) -> list[Identity]:
    found = [(r.node, r.boot, r.seq) for r in client.readings()]
    for node in range(1, nodes + 1):
        found += [(e.node, e.boot, e.seq) for e in client.events(node=node, limit=1000)]
    return found


def appended(street: Street) -> set[Identity]:
    return {(address, entry.boot, entry.seq) for address, entry in street.appended()}


def drain(street: Street, daemon: Daemon) -> list[Identity]:
    """Stop sampling, wait until all that was appended is stored, and return what is stored."""
    with daemon.client() as client:
        for pole in street:
            order = client.config(pole.address, api.ConfigOrder(report_s=0))
            assert wait_until(lambda id=order.id: not client.command(id).open, 60), (
                f"node {pole.address} does not answer"
            )
        last: list[Identity] = []

        def complete() -> bool:
            nonlocal last
            last = stored(client, len(street))
            return appended(street) <= set(last)

        assert wait_until(complete, 90, 0.5), f"never stored: {sorted(appended(street) - set(last))} (seed {SEED})"
        for pole in street:
            assert wait_until(lambda node=pole.address: _pending(client, node) == 0, 60, 0.5)
        return stored(client, len(street))


def _pending(client: Client, node: int) -> int | None:
    try:
        return client.health(node).values["pending"]
    except FelinarError:
        return None


def test_kills_and_power_cuts_lose_nothing_and_leave_no_street_dark(tmp_path: Path, app: Path) -> None:
    chance = random.Random(SEED)
    began = time.time_ns() // 1000
    with running(tmp_path, app, 2) as (street, daemon):
        with daemon.client() as client:
            assert wait_until(lambda: len(client.nodes()) == 2, 30)
        for blow in range(BLOWS):
            time.sleep(chance.uniform(0.2, 1.2))
            daemon.kill()
            time.sleep(chance.uniform(0.0, 0.6))
            daemon.__enter__()
            time.sleep(chance.uniform(0.2, 1.2))
            pole = street[0]
            if blow % 2:  # in the middle of one of the next flash operations
                pole.cut_after(chance.randrange(1, 5), torn=chance.random())
                assert wait_until(lambda pole=pole: not pole.powered, 30)
            else:
                pole.cut_power()
            time.sleep(chance.uniform(0.1, 0.5))
            pole.power_on()
        held = drain(street, daemon)
        assert len(street[0].boots) == BLOWS + 1, street[0].boots
        assert len(held) == len(set(held)), "stored twice"
        assert len(held) > 4 * BLOWS
        with daemon.client() as client:
            told = [r for r in client.readings() if r.time_source == "node"]
        periods: dict[tuple[int, int, str], api.Reading] = {}
        for one in told:
            other = periods.setdefault((one.node, one.boot, one.time), one)
            assert other is one, f"one period was reported under two numbers: {other} and {one}"
        until = time.time_ns() // 1000
        for pole in street:
            starts = [at for at, on in pole.lamp.mains_history if on]
            for dark, light in pole.lamp.dark_while_powered(began, until):
                # An LED driver takes its time from mains to light; no other darkness is forgiven.
                assert any(at <= dark and light <= at + pole.lamp.kind.start_us for at in starts), (
                    f"{pole.name} was dark for {(light - dark) / 1e6:.3f} s at night with the mains on (seed {SEED})"
                )
            assert pole.lit


def test_a_pulled_cable_and_a_garbage_line_are_survived_and_said(tmp_path: Path, app: Path) -> None:
    log = tmp_path / "daemon.log"
    with running(tmp_path, app, 2) as (street, daemon):
        with daemon.client() as client:
            assert wait_until(lambda: len(client.nodes()) == 2, 30)
            street[0].pull()
            assert wait_until(lambda: "line lost" in log.read_text(), 20), log.read_text()
            heard = client.nodes()[1].reports
            assert wait_until(lambda: client.nodes()[1].reports > heard, 10), "the other line has stopped"
            street[0].plug()
            street[1].console.garbage(20_000)
            assert wait_until(lambda: log.read_text().count("node found") >= 3, 60), log.read_text()
            assert wait_until(lambda: "garbage" in log.read_text(), 30), log.read_text()
            street[1].console.garbage(0)
            heard = client.nodes()[1].reports
            assert wait_until(lambda: client.nodes()[1].reports > heard, 60), "the garbage line has not recovered"
        held = drain(street, daemon)
        assert len(held) == len(set(held))
