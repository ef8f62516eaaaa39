"""What happens to a street on the air, with the real firmware and the host's planner, and what must come of it.

A scenario is a function of (where, seed) that asserts; `play` says how to replay one that fails:
`python -m tests.firmware.air_scenarios NAME --seed N`.
"""

from __future__ import annotations

import argparse
import random
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from felinar_bench.air_town import LIGHT, Order, Town, applications
from felinar_wire import codec, schema

from tests.support.micropython import ROOT

BOARD = ROOT / "boards" / "sim_radio" / "board.toml"
METER = {"driver": "bl0937", "counter": 0}
_LONG_S = 600
"""Until all have a slot, with frames lost."""


@dataclass
class Where:
    """Applications that are built once, and a folder for streets. `told` gets what was measured."""

    folder: Path
    apps: Path
    told: Callable[[str], None] = print
    _streets: int = 0

    def town(self, nodes: int, seed: int, apps: Path | None = None, **options: Any) -> Town:
        """A street that has not begun."""
        self._streets += 1
        return Town(apps or self.apps, self.folder / f"street-{self._streets}", nodes, seed=seed, **options)

    def other(self, chip: str) -> Path:
        """The applications of the board with another radio."""
        folder = self.folder / chip
        if not folder.exists():
            folder.mkdir()
            text = BOARD.read_text().replace('chip = "sx1262"\ntcxo_mv = 1800\ndio2_switch = true', f'chip = "{chip}"')
            assert chip in text
            (folder / "board.toml").write_text(text)
            applications(folder / "board.toml", folder)
        return folder


def settle(town: Town) -> None:
    """Wait until everybody has a slot."""
    took = town.run_until(lambda: town.settled, _LONG_S, 10)
    assert town.settled, (
        f"after {took:.0f} s {[p.address for p in town.street.street if town.home(p.address) < 0]} have no slot"
    )


def drain(town: Town, limit_s: float = 1800) -> float:
    """Wait until all that has been reported by now is with the host; how long it took. Everything is stored once, as it was made."""
    begin = town.clock.now_us

    def missing() -> list[tuple[int, int, int]]:
        return [
            (pole.address, one.boot, one.seq)
            for pole in town.street.street
            for one in pole.appended
            if one.kind == schema.REPORT
            and one.at_us <= begin
            and (pole.address, one.boot, one.seq) not in town.host.heard_at
        ]

    took = town.run_until(lambda: not missing(), limit_s, 30)
    assert not missing(), f"{missing()[:5]} have not come within {limit_s:.0f} s"
    account = town.settle_account(took + 1)
    assert account.wrong == [] and town.sound() == []
    assert account.stored == account.made > 0
    return took


def repeated(where: Where, seed: int) -> None:
    """Two runs of a seed are alike to the byte, another seed's is not."""
    traces = []
    for one in (seed, seed, seed + 1):
        with where.town(1, one, beacon_loss=0.1) as town:
            town.run_for(200 if one == seed else 40)
            traces.append(town.street.trace_hash())
    assert traces[0] == traces[1] != traces[2]


def bridge_dies(where: Where, seed: int) -> None:
    """A bridge dies: its nodes are in slots of the other one within five minutes."""
    with where.town(4, seed, plan=((0, 7), (1, 7)), bridges=((0.0, 0.0), (100.0, 0.0))) as town:
        settle(town)
        town.run_for(60)
        homes = [town.home(pole.address) for pole in town.street.street]
        dead = max(set(homes), key=homes.count)
        left = [i + 1 for i, home in enumerate(homes) if home == dead]
        died = town.host.now().unix
        town.street.bridges[dead].cut_power()
        took = town.run_until(lambda: all(town.home(one) == 1 - dead for one in left), 300)
        assert all(town.home(one) == 1 - dead for one in left), f"after {took:.0f} s they are at {homes}"
        where.told(f"{len(left)} of {len(homes)} nodes moved within {took:.0f} s")

        def silent() -> set[int]:
            return set(left) - {node for (node, _, _), at in town.host.heard_at.items() if at > died}

        town.run_until(lambda: not silent(), 1800, 30)
        assert not silent(), f"nothing came of {silent()} since"
        assert town.settle_account(0).wrong == [] and town.sound() == []


def bridge_silent(where: Where, seed: int) -> None:
    """No bridge for nearly half an hour: nothing is lost, and what has gathered drains."""
    with where.town(2, seed, report_s=120) as town:
        settle(town)
        town.run_for(100)
        town.street.bridge.cut_power()
        town.run_for(1500)
        gathered = len([one for pole in town.street.street for one in pole.appended if one.kind == schema.REPORT])
        town.street.bridge.power_on()
        took = drain(town, 3600)
        where.told(f"{gathered} reports in all, drained {took:.0f} s after the bridge was back")


def daemon_restarts(where: Where, seed: int) -> None:
    """The daemon is away for five minutes: nodes join anew, differences find their bases, nothing comes twice."""
    with where.town(2, seed) as town:
        settle(town)
        town.run_for(330)
        town.host.stop()
        town.run_for(300)
        town.host.start()
        settle(town)
        town.run_for(300)
        drain(town)


def power_cut(where: Where, seed: int) -> None:
    """The whole street is without power for a moment: all are back in their slots within fifteen minutes."""
    with where.town(5, seed) as town:
        settle(town)
        before = {
            pole.address: town.host.air.peers[pole.address].home.slots.of[pole.address] for pole in town.street.street
        }  # type: ignore[union-attr]
        for pole in town.street.street:
            pole.power_cycle(20)
        cut = town.host.now().unix
        town.run_for(20)

        def back() -> bool:
            return {node for at, node in town.host.joined if at > cut} >= set(before)

        took = town.run_until(back, 900)
        assert back(), "not all are back after fifteen minutes"
        where.told(f"all of {len(before)} are back after {took:.0f} s")
        assert {n: town.host.air.peers[n].home.slots.of[n] for n in before} == before  # type: ignore[union-attr]
        # One frame in five is lost, and events have their turns: four in a row of some node are within a hundred streets.
        town.run_until(lambda: {node for node, boot, _ in town.host.heard_at if boot == 2} == set(before), 3600, 30)
        assert {node for node, boot, _ in town.host.heard_at if boot == 2} == set(before), (
            "nothing came of the new boots"
        )
        assert town.settle_account(0).wrong == [] and town.sound() == []


def alarm(where: Where, seed: int) -> None:
    """A lamp fails: the host knows within two minutes of the node."""
    with where.town(1, seed, fitted=(*LIGHT, METER)) as town:
        settle(town)
        town.run_for(120)
        pole = town.street[0]
        pole.lamp.failed = True

        def alarms() -> list[tuple[float, float | None]]:
            return [
                (one.at_us / 1e6, town.host.heard_at.get((1, one.boot, one.seq)))
                for one in pole.appended
                if one.kind == schema.EVENT and codec.decode(one.kind, one.body)[2] == schema.EVENT_LAMP_FAILURE
            ]

        town.run_until(alarms, 400)
        assert alarms(), "the node has not noticed"
        town.run_until(lambda: alarms()[0][1] is not None, 120)
        known, heard = alarms()[0]
        assert heard is not None, "the host was not told within two minutes"
        where.told(f"an alarm was with the host after {heard - known:.1f} s")
        assert town.sound() == []


def commands(where: Where, seed: int) -> None:
    """Orders to one lamp, then to all: real relays switch, and how soon."""
    rng = random.Random(seed)
    with where.town(4, seed) as town:
        settle(town)
        town.run_for(30)
        relay: list[float] = []
        answer: list[float] = []
        for number in range(1, 21):
            town.run_for(rng.uniform(4, 11))  # a contact rests for three seconds
            node = rng.randrange(1, 5)
            lit = int(not town.street[node - 1].lit)  # its driver needs less than a second to start
            asked, seen = town.host.now().unix, len(town.switched)
            town.host.order(Order(node, number, schema.MODE_ON if lit else schema.MODE_OFF))

            def switched(node: int = node, lit: int = lit, seen: int = seen) -> list[float]:
                return [at / 1e6 for at, who, now in town.switched[seen:] if (who, now) == (node, lit)]

            town.run_until(lambda number=number: number in town.host.answers and switched(), 30, 0.25)  # type: ignore[misc]
            assert number in town.host.answers, f"order {number} to node {node} was not answered in 30 s"
            assert switched(), f"node {node} said that it was done, and its relay has not switched"
            relay.append(switched()[0] - asked)
            answer.append(town.host.answers[number] - asked)
        where.told(
            f"orders to one: relay {sorted(relay)[len(relay) // 2]:.2f} s, at most {max(relay):.2f}; answered {max(answer):.2f} s"
        )
        assert max(relay) <= 3 and max(answer) <= 6 and sorted(relay)[-2] <= 2 and sorted(answer)[-2] <= 4
        for node in range(1, 5):
            town.host.order(Order(node, 100 + node, schema.MODE_OFF))
        town.run_until(lambda: not any(pole.lit for pole in town.street.street), 60)
        town.run_for(3)
        assert not any(pole.lit for pole in town.street.street)
        asked = town.host.now().unix
        town.host.group(schema.MODE_ON, 0, 600)
        took = town.run_until(lambda: all(pole.lit for pole in town.street.street), 60, 0.1)
        assert all(pole.lit for pole in town.street.street), "not all are lit after a minute"
        where.told(f"all on: {took:.1f} s")
        town.run_for(60)
        assert all(pole.lit for pole in town.street.street), "what was proven is not taken back"
        assert town.sound() == []


def sx127x(where: Where, seed: int) -> None:
    """Nodes and a bridge with an SX1276."""
    with where.town(1, seed, apps=where.other("sx1276"), loss=0.1) as town:
        settle(town)
        town.run_for(310)
        drain(town)


def sf9(where: Where, seed: int) -> None:
    """A bridge at SF9, which nodes find by themselves."""
    with where.town(2, seed, plan=((0, 9),), loss=0.1) as town:
        settle(town)
        assert all(emission.tuning.sf == 9 for emission in town.street.radio(0).emissions)
        town.run_for(310)
        drain(town)


def retuned(where: Where, seed: int) -> None:
    """The host changes a bridge's spreading factor: its nodes find it, and nothing is lost."""
    with where.town(2, seed, loss=0.1) as town:
        settle(town)
        town.run_for(310)
        air = town.host.air
        air.retune(air.cells[0], 8)
        took = town.run_until(lambda: all(peer.slot is not None for peer in air.peers.values()), 180)
        assert 30 < took < 180, f"after {took:.0f} s"
        where.told(f"back after {took:.0f} s")
        town.run_for(310)
        drain(town)
        sent = [town.street.radio(i).emissions[-1].tuning.sf for i in range(-1, 2)]
        assert sent == [8, 8, 8]


SCENARIOS: dict[str, Callable[[Where, int], None]] = {
    one.__name__: one
    for one in (repeated, bridge_dies, bridge_silent, daemon_restarts, power_cut, alarm, commands, sx127x, sf9, retuned)
}


def play(where: Where, name: str, seed: int) -> None:
    """Play a scenario; when it fails, how to replay it is in the error."""
    try:
        SCENARIOS[name](where, seed)
    except Exception as error:
        raise AssertionError(f"replay: python -m tests.firmware.air_scenarios {name} --seed {seed}\n{error}") from error


def main() -> None:
    """Replay one scenario."""
    parser = argparse.ArgumentParser(prog="tests.firmware.air_scenarios", description=__doc__)
    parser.add_argument("name", choices=sorted(SCENARIOS))
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        apps = applications(BOARD, Path(folder) / "apps")
        play(Where(Path(folder), apps, partial(print, flush=True)), given.name, given.seed)


if __name__ == "__main__":
    main()
