"""The air with the real firmware: reports of a day by lamps in MicroPython, beside the medium-access cores alone at the same size."""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from felinar_build.modules import ROOT

from felinar_bench.air_street import Street
from felinar_bench.air_town import OLD_S, Town, applications
from felinar_bench.figures import Figure

BOARD = ROOT / "boards" / "sim_radio" / "board.toml"
NODES = 50
"""Of one street."""
STREETS = 2
"""As many as there are cores: a street takes one, as its boards and its simulator take turns."""
HOURS = 24.0
SEED = 1
NOISE = 1.05
"""The two scales agree when their transmissions a report are no further apart."""
HEAP = "1M"
"""More than a chip has, so that the collector runs less often; what fits is measured elsewhere (felinar_bench node)."""


@dataclass(frozen=True)
class Job:
    """One street of real lamps."""

    apps: str
    seed: int
    nodes: int
    hours: float
    sf: int = 7
    heap: str = HEAP

    @property
    def command(self) -> str:
        """What replays it."""
        return f"python -m felinar_bench.air_full_stack --seed {self.seed} --nodes {self.nodes} --hours {self.hours:g} --sf {self.sf}"


@dataclass(frozen=True)
class Result:
    """What came of one street. Times are CPU seconds; `duty` is the worst share of a duty cycle in any hour; `requests` are those that boards
    have made of the simulator."""

    made: int
    stored: int
    tx_per_report: float
    duty: float
    joins: int
    simulator_s: float
    boards_s: float
    requests: int
    wrong: tuple[str, ...]
    trace: str


def live(job: Job, core: int | None = None) -> Result:
    """Let one street live; on one core when a number is given, where boards and simulator hand over to each other soonest."""
    if core is not None and hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[core % len(cores)]})
    began = time.process_time()
    with tempfile.TemporaryDirectory(prefix="felinar-air-") as folder:
        with Town(
            Path(job.apps), Path(folder) / "town", job.nodes, seed=job.seed, plan=((0, job.sf),), heap=job.heap
        ) as town:
            town.run_for(job.hours * 3600)
            account = town.settle_account()
            wrong = (
                *account.wrong,
                *town.sound(),
                *(f"{name} restarted {n} times" for name, n in town.restarts().items()),
            )
            duty = max(town.street.ether.peak.values())
            joins, trace = len(town.host.joined), town.street.trace_hash()
            requests = sum(board.trace.count for board in (*town.street.bridges, *town.street.street))
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Result(
        account.made, account.stored, account.tx_per_report, duty, joins, time.process_time() - began,
        children.ru_utime + children.ru_stime, requests, wrong, trace,
    )  # fmt: skip


def cores_alone(seed: int, nodes: int, hours: float, sf: int = 7) -> tuple[int, int, float]:
    """(reports stored, reports made, transmissions a report) of the same street without firmware."""
    street = Street(seed, nodes, sf)
    street.run(hours * 3600)
    stored, made = street.delivered(OLD_S)
    return stored, made, street.copies / max(len(street.latencies), 1)


def figures(
    nodes: int = NODES, hours: float = HOURS, streets: int = STREETS, seed: int = SEED, apps: Path | None = None
) -> Iterator[Figure]:
    """Streets of real lamps at SF7, 20 % of frames and 5 % of beacons lost, a report each 5 minutes; and the cores alone."""
    with contextlib.ExitStack() as stack:
        if apps is None:
            apps = applications(BOARD, Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="felinar-apps-"))))
        jobs = [Job(str(apps), seed + i, nodes, hours) for i in range(streets)]
        began = time.monotonic()
        if streets == 1:
            results = [live(jobs[0])]
        else:
            context = multiprocessing.get_context("spawn")
            pool = stack.enter_context(ProcessPoolExecutor(min(streets, os.cpu_count() or 1), mp_context=context))
            results = list(pool.map(live, jobs, range(streets)))
        minutes = (time.monotonic() - began) / 60
    for job, result in zip(jobs, results, strict=True):
        for wrong in result.wrong:
            print(f"{wrong}: {job.command}", file=sys.stderr)  # noqa: T201
    made, stored = sum(r.made for r in results), sum(r.stored for r in results)
    days = nodes * streets * hours / 24
    busy = sum(r.simulator_s + r.boards_s for r in results)
    share = sum(r.boards_s for r in results) / busy
    requests = sum(r.requests for r in results) / days / 8640
    duty = max(r.duty for r in results)
    tx = sum(r.tx_per_report for r in results) / streets
    yield Figure(
        "air.full_stack.nodes", nodes, "nodes", 50, "higher",
        f"of real firmware under one bridge, in each of {streets} streets, {hours:g} h",
    )  # fmt: skip
    yield Figure(
        "air.full_stack.delivered", stored / max(made, 1), "", 0.9999, "higher",
        f"{stored} of {made} reports older than {OLD_S // 60} min, once each, by the simulator's books",
    )  # fmt: skip
    yield Figure("air.full_stack.tx_per_report", tx, "", 1.4, note="copies that went out over reports made")
    yield Figure(
        "air.full_stack.duty", duty, "", 1.0, note="largest share of a duty cycle in any sliding hour, by the ether"
    )
    yield Figure("air.full_stack.wrong", sum(len(r.wrong) for r in results), "", 0, note="what must not be; see above")
    yield Figure(
        "air.sim.node_days_per_minute", days / minutes, "", 10, "higher",
        f"{busy / days:.1f} CPU s a node-day: MicroPython on the boards {share:.0%}, simulator and host the rest, for {requests:.1f} requests of "
        f"boards in a node's 10 s; {streets} streets beside each other",
    )  # fmt: skip
    alone = [cores_alone(seed + i, nodes, hours) for i in range(streets)]
    alone_tx = sum(one[2] for one in alone) / streets
    ratio = tx / alone_tx
    yield Figure(
        "air.scales.delivered", sum(one[0] for one in alone) / max(sum(one[1] for one in alone), 1), "", 0.9999, "higher",
        "of the cores alone at that size",
    )  # fmt: skip
    yield Figure(
        "air.scales.tx_ratio", max(ratio, 1 / ratio), "", NOISE,
        note=f"{tx:.3f} with firmware, {alone_tx:.3f} with the cores alone: the larger over the smaller",
    )  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Replay one street; exit status 1 when anything was wrong."""
    parser = argparse.ArgumentParser(prog="felinar_bench.air_full_stack", description=__doc__)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--nodes", type=int, default=NODES)
    parser.add_argument("--hours", type=float, default=HOURS)
    parser.add_argument("--sf", type=int, default=7, choices=(7, 8, 9, 10))
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="felinar-apps-") as folder:
        apps = applications(BOARD, Path(folder))
        result = live(Job(str(apps), given.seed, given.nodes, given.hours, given.sf))
    print(result)  # noqa: T201
    return int(bool(result.wrong) or result.stored < result.made)


if __name__ == "__main__":
    sys.exit(main())
