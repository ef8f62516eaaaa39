"""The scenarios of the air: each is one run of a street with a seed, what it measured, and what went wrong in it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from felinar_air import plan
from felinar_sim.ether import Ether, EtherError

from felinar_bench import air_commands, air_faults
from felinar_bench.air_lamp import PERIOD
from felinar_bench.air_random import Random
from felinar_bench.air_street import Street

OLD_S = 1800
"""Reports older than that at the end of a run are to be stored."""
BRIDGES = [(0.0, 0.0), (900.0, 0.0), (450.0, 780.0)]
"""Metres; three that can hear each other's lamps."""
COMMANDS = 300
"""To single lamps in a run."""

Values = dict[str, list[float]]


@dataclass(frozen=True)
class Job:
    """One run."""

    scenario: str
    seed: int
    nodes: int = 1000
    sf: int = 7
    hours: float = 24.0

    @property
    def command(self) -> str:
        """What replays it."""
        return (
            f"python -m felinar_bench air --scenario {self.scenario} --seed {self.seed} --nodes {self.nodes} "
            f"--sf {self.sf} --hours {self.hours:g}"
        )


@dataclass
class Run:
    """What a job measured: `values` by name, `duty` the worst share by kind of station, `wrong` what must not be."""

    job: Job
    values: Values = field(default_factory=dict)
    duty: dict[str, float] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    trace: str = ""
    cpu_s: float = 0.0

    def limit(self, name: str, value: float, most: float = math.inf, least: float = -math.inf) -> None:
        """Enter a value, and that it is wrong when it is beyond its limit."""
        self.values.setdefault(name, []).append(value)
        if not least <= value <= most:
            bound = f"more than {most:g}" if value > most else f"less than {least:g}"
            self.wrong.append(f"{name} is {value:g}, {bound}")

    def settle(self, ether: Ether, bridges: set[int], trace: str) -> None:
        """Take the ether's account and the trace of the finished run."""
        for station, share in ether.peak.items():
            kind = "bridge" if station in bridges else "node"
            self.duty[kind] = max(share, self.duty.get(kind, 0.0))
        self.trace = trace


def _finish(run: Run, street: Street) -> None:
    run.settle(street.ether, {bridge.station for bridge in street.bridges}, street.trace_hash())
    if street.wrong:
        run.wrong.append(f"{street.wrong} reports came that were never made so, or count from one that is not there")


def _account(run: Run, street: Street, least: float = 0.9999) -> None:
    stored, made = street.delivered(OLD_S)
    if made:
        run.limit("delivered", stored / made, least=least)
    run.values["tx_per_report"] = [street.copies / max(len(street.latencies), 1)]


def tdma(job: Job, run: Run) -> None:
    """Reports of a day: nodes in their slots."""
    street = Street(job.seed, job.nodes, job.sf)
    street.run(job.hours * 3600)
    _account(run, street)
    run.limit("tx_per_report", run.values.pop("tx_per_report")[0], most=1.4)
    run.values["latency_s"] = [float(v) for v in np.percentile(street.latencies, (50, 99, 99.9))]
    run.values["repeats"] = [float(street.twice)]
    _finish(run, street)


def _random(listen: bool, copies: int) -> Callable[[Job, Run], None]:
    def chance(job: Job, run: Run) -> None:
        street = Random(job.seed, job.nodes, job.sf, listen=listen, copies=copies)
        street.run(round(job.hours * 3600))
        run.values["delivered"] = [len(street.stored) / street.made]
        run.values["tx_per_report"] = [street.sent / street.made]
        run.values["latency_s"] = [float(v) / 1e6 for v in np.percentile(list(street.stored.values()), (50, 99, 99.9))]
        run.settle(street.ether, {street.bridge}, street.ether.digest)

    chance.__doc__ = f"Reports of a day: {'listening before talking' if listen else 'ALOHA'}, {copies} a report."
    return chance


def command(job: Job, run: Run) -> None:
    """Commands to single lamps while all report."""
    street = air_commands.settled(job.seed, job.nodes, job.sf)
    relay, answer = air_commands.one(street, max(1, round(COMMANDS * min(job.hours, 1))))
    run.values["relay_s"], run.values["answer_s"] = relay, answer
    run.limit("relay_p99_s", float(np.percentile(relay, 99)), most=2.0)
    run.limit("answer_p99_s", float(np.percentile(answer, 99)), most=4.0)
    _finish(run, street)


def group(job: Job, run: Run) -> None:
    """All on, and then a dimmed level that waits for its proof, while all report."""
    street = air_commands.settled(job.seed, job.nodes, job.sf)
    for on in (True, False):
        when, unproven = air_commands.group(street, on)
        when = np.sort(when)
        if on:
            run.limit("on_99_s", float(when[math.ceil(0.99 * len(when)) - 1]), most=3.0)
            run.limit("on_all_s", float(when[-1]), most=60.0)
            run.limit("taken_back", unproven, most=0)
        else:
            run.values["dim_s"] = [float(v) for v in when]
            run.limit("dim_all_s", float(when[-1]), most=60.0)
    _finish(run, street)


def rejoin(job: Job, run: Run) -> None:
    """The power of the whole city comes back."""
    street = air_commands.settled(job.seed, job.nodes, job.sf)
    air_faults.cut(street)
    back = _joined(street, 1800)
    run.limit("back_s", back, most=900.0)
    street.run(job.hours * 3600)
    _account(run, street)
    _finish(run, street)


def _joined(street: Street, most: float) -> float:
    """Seconds until nobody is without a slot; infinite when that takes too long."""
    begin = street.now
    while street.awake:
        street.run(5)
        if street.now - begin > most * 1e6:
            return math.inf
    return street.at_join[-1] - begin / 1e6


def bridge_death(job: Job, run: Run) -> None:
    """Three bridges, and one of them dies: its nodes move to where they are heard."""
    street = Street(job.seed, job.nodes, job.sf, places=BRIDGES, joined=False)
    run.limit("joined_s", _joined(street, 3600), most=900.0)
    dead = street.bridges[job.seed % len(BRIDGES)]
    begin = street.now
    others = [bridge for bridge in street.bridges if bridge is not dead]
    mine = [lamp for lamp in street.lamps if lamp.access.frame.bridge == dead.frame.bridge]
    near = [lamp for lamp in mine if any(air_faults.in_range(street, lamp, bridge) for bridge in others)]
    lives = {lamp.place: lamp.life for lamp in mine}
    air_faults.kill(street, dead)
    moved: dict[int, float] = {}
    waiting = near
    while waiting and street.now - begin < 1800e6:
        street.run(1)
        for lamp in waiting:
            if lamp.life != lives[lamp.place]:  # it was given a slot
                moved[lamp.place] = (street.now - begin) / 1e6
        waiting = [lamp for lamp in waiting if lamp.place not in moved]
    run.values["moved_s"] = sorted(moved.values())
    run.values["out_of_range"] = [float(len(mine) - len(near))]
    run.limit("moved_all_s", max(moved.values(), default=0.0) if not waiting else math.inf, most=300.0)
    street.run(job.hours * 3600)
    last = int((street.now / 1e6 - OLD_S) // PERIOD)
    lost = sum(last - sum(seq <= last for seq in lamp.stored) for lamp in street.lamps if lamp.place in moved)
    run.limit("lost", lost, most=0)
    _finish(run, street)


def outage(job: Job, run: Run) -> None:
    """No bridge for `hours` of time, two days; then the backlog drains, which may take half as long."""
    street = air_commands.settled(job.seed, job.nodes, job.sf)
    air_faults.outage(street, job.hours * 3600)
    begin = street.now
    last = begin // (PERIOD * 1_000_000)
    drained = math.inf
    while street.now - begin < job.hours * 1800e6:
        street.run(PERIOD)
        if all(len(lamp.stored) >= last and not any(seq <= last for seq in lamp.pending) for lamp in street.lamps):
            drained = (street.now - begin) / 3600e6
            break
    run.limit("drain_h", drained, most=job.hours / 2)
    run.values["kept"] = [float(max(lamp.kept for lamp in street.lamps))]
    run.limit("lost", sum(seq not in lamp.stored for lamp in street.lamps for seq in range(1, last + 1)), most=0)
    _finish(run, street)


@dataclass(frozen=True)
class Scenario:
    """`run` fills a Run; `job` is its usual size, `small` the one that a test can afford, of which `hours` are needed."""

    run: Callable[[Job, Run], None]
    job: Job
    small: Job


def _scenario(run: Callable[[Job, Run], None], name: str, hours: float, small: tuple[int, float]) -> Scenario:
    return Scenario(
        run, Job(name, 1, 600 if name == "bridge-death" else 1000, 7, hours), Job(name, 1, small[0], 7, small[1])
    )


SCENARIOS = {
    name: _scenario(run, name, hours, small)
    for name, run, hours, small in (
        ("tdma", tdma, 24.0, (60, 3.0)),
        ("aloha", _random(False, 1), 24.0, (200, 1.0)),
        ("lbt", _random(True, 1), 24.0, (200, 1.0)),
        ("aloha3", _random(False, 3), 24.0, (200, 1.0)),
        ("lbt3", _random(True, 3), 24.0, (200, 1.0)),
        ("command", command, 1.0, (80, 0.3)),
        ("group", group, 0.1, (200, 0.1)),
        ("rejoin", rejoin, 1.0, (120, 0.7)),
        ("bridge-death", bridge_death, 1.0, (40, 0.7)),
        ("outage", outage, 48.0, (8, 48.0)),
    )
}


def perform(job: Job) -> Run:
    """Run a job. What the ether's law forbids ends it, and is wrong."""
    run = Run(job)
    begin = time.process_time()
    try:
        SCENARIOS[job.scenario].run(job, run)
    except EtherError as error:
        run.wrong.append(str(error))
    run.cpu_s = time.process_time() - begin
    return run


def small(scenario: str, seed: int) -> Job:
    """The job of a scenario that takes a second or two."""
    return replace(SCENARIOS[scenario].small, seed=seed)


def capacity(sf: int) -> int:
    """How many nodes have a slot of their own."""
    return plan.Superframe(sf, 0).slots * plan.CYCLE
