"""The air: a thousand lamps a bridge, beside random access; commands, power cuts, dead bridges, and the law's duty cycle."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import math
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import replace

import numpy as np

from felinar_bench.air_scenarios import SCENARIOS, Job, Run, capacity, perform
from felinar_bench.figures import Figure

TITLE = "medium access under one ether, 20 % of frames and 5 % of beacons lost"
CORES = 2
SEEDS = {"command": 8, "group": 100, "rejoin": 8, "bridge-death": 10}
"""Of scenarios that more than one seed is run of."""
SIZES = ((7, 1000), (9, 500))
RANDOM = ("aloha", "lbt", "aloha3", "lbt3")
SWEEP = (50, 100, 200, 300, 400, 600, 800, 1200, 1600)
"""Nodes, for the figure at which random access saturates."""
SATURATED = 0.82
"""Of what is not lost otherwise: the share that collisions leave."""
FULL_STACK = "felinar_bench.air_full_stack"


def options(parser: argparse.ArgumentParser) -> None:
    """What this benchmark can be told on the command line."""
    parser.description = (
        "Measures the air: all of it, or one scenario, seed and size. A run that fails is named on standard error with the "
        "command that replays it; the same command gives the same trace, which is printed there too."
    )
    parser.add_argument("--scenario", choices=sorted(SCENARIOS), help="run this one alone")
    parser.add_argument("--seed", type=int, default=1, help="the first seed (1)")
    parser.add_argument("--seeds", type=int, default=1, help="how many seeds of the scenario (1)")
    parser.add_argument("--nodes", type=int, help="lamps; the scenario's own number if not given")
    parser.add_argument("--sf", type=int, choices=(7, 8, 9, 10), help="spreading factor (7)")
    parser.add_argument("--hours", type=float, help="of virtual time; the scenario's own if not given")


def jobs() -> list[Job]:
    """All that `figures` runs, the longest first."""
    day = SCENARIOS["tdma"].job.hours
    out = [SCENARIOS["outage"].job]
    for sf, nodes in SIZES:
        out += [Job(name, 1, nodes, sf, day) for name in ("tdma", *RANDOM)]
    for name, seeds in SEEDS.items():
        out += [replace(SCENARIOS[name].job, seed=seed) for seed in range(1, seeds + 1)]
    for sf, _ in SIZES:
        out += [Job(name, 1, nodes, sf, 2) for name in ("aloha", "lbt") for nodes in SWEEP]
    out.append(replace(SCENARIOS["rejoin"].job, seed=1))  # once more: its trace is to be the same
    return out


def figures(given: argparse.Namespace | None = None) -> Iterator[Figure]:
    """The figures of all scenarios, or of the one that was asked for."""
    if given is not None and given.scenario:
        yield from _alone(given)
        return
    planned = jobs()
    done: list[Run] = []
    with ProcessPoolExecutor(CORES) as pool:
        waiting: list[Future[Run]] = [pool.submit(perform, job) for job in planned]
        for future in waiting:
            done.append(future.result())
            _tell(done[-1], f"{len(done)} of {len(planned)}")
    yield from _day(done)
    yield from _saturation(done)
    yield from _commands(done)
    yield from _faults(done)
    yield from _law(done)
    if importlib.util.find_spec(FULL_STACK):
        yield from importlib.import_module(FULL_STACK).figures()


def _tell(run: Run, progress: str) -> None:
    job = run.job
    lines = [
        f"{progress}: {job.scenario}, seed {job.seed}, {job.nodes} nodes, SF{job.sf}: trace {run.trace}, {run.cpu_s:.1f} s"
    ]
    lines += [f"FAILED: {job.scenario}, seed {job.seed}: {what}\n  replay: {job.command}" for what in run.wrong]
    sys.stderr.write("\n".join(lines) + "\n")
    sys.stderr.flush()


def _alone(given: argparse.Namespace) -> Iterator[Figure]:
    usual = SCENARIOS[given.scenario].job
    changes = {name: value for name in ("nodes", "sf", "hours") if (value := getattr(given, name)) is not None}
    some = [replace(usual, seed=given.seed + i, **changes) for i in range(given.seeds)]
    failed = 0
    for job in some:
        run = perform(job)
        _tell(run, f"{job.seed - given.seed + 1} of {len(some)}")
        failed += bool(run.wrong)
        for name, values in run.values.items():
            for value, kind in [(max(values), ".max"), (min(values), ".min")][: min(len(values), 2)]:
                yield Figure(
                    f"air.{job.scenario}.{name}{kind if len(values) > 1 else ''}",
                    value,
                    _unit(name),
                    note=f"seed {job.seed}",
                )
    yield Figure("air.failed", failed, "runs", 0, note="limits of each run, told on standard error")


def _unit(name: str) -> str:
    return {"s": "s", "h": "h"}.get(name.rsplit("_", 1)[-1], "")


def _of(runs: list[Run], name: str, values: str) -> list[float]:
    """All values of that name in a scenario's runs; infinite where one failed before it had any."""
    return [v for run in runs if run.job.scenario == name for v in run.values.get(values, [math.inf])]


def _day(runs: list[Run]) -> Iterator[Figure]:
    for sf, nodes in SIZES:
        for run in runs:
            job = run.job
            if (
                (job.sf, job.nodes) != (sf, nodes)
                or job.hours != SCENARIOS["tdma"].job.hours
                or not (job.scenario == "tdma" or job.scenario in RANDOM)
            ):
                continue
            name = f"air.{job.scenario}.sf{sf}.{nodes}"
            ours = job.scenario == "tdma"
            note = (
                "" if ours else {"3": "thrice each; "}.get(job.scenario[-1], "") + "one channel, nothing acknowledged"
            )
            delivered = run.values.get("delivered", [0.0])[0]
            yield Figure(f"{name}.delivered", round(delivered, 6), "share", 0.9999 if ours else None, "higher", note)
            sent = run.values.get("tx_per_report", [math.inf])[0]
            yield Figure(f"{name}.tx_per_report", round(sent, 3), "times", 1.4 if ours else None)
            latency = run.values.get("latency_s", [math.inf] * 3)
            what = "of what arrives" + ("; slots come every 300 s" if ours else "")
            yield Figure(f"{name}.p99_latency_s", round(latency[1], 2), "s", note=f"{what}; median {latency[0]:.1f} s")


def _saturation(runs: list[Run]) -> Iterator[Figure]:
    for sf, _ in SIZES:
        for name in ("aloha", "lbt"):
            found = {
                run.job.nodes: run.values["delivered"][0] / 0.8
                for run in runs
                if run.job.scenario == name and run.job.sf == sf and run.job.hours == 2 and run.values
            }
            sizes = sorted(found)
            good = [found[size] for size in sizes]
            value = float(np.interp(-SATURATED, [-share for share in good], sizes)) if good else 0.0
            yield Figure(
                f"air.{name}.sf{sf}.saturates", round(value), "nodes", note=f"collisions leave {SATURATED:.0%}"
            )
        yield Figure(f"air.tdma.sf{sf}.saturates", capacity(sf), "nodes", note="slots of a bridge", better="higher")


def _commands(runs: list[Run]) -> Iterator[Figure]:
    relay, answer = _of(runs, "command", "relay_s"), _of(runs, "command", "answer_s")
    note = f"{len(relay)} commands, {SEEDS['command']} seeds; the slowest {max(relay):.1f} s"
    yield Figure("air.command.one.p99_s", round(float(np.percentile(relay, 99)), 3), "s", 2, note=note)
    note = f"the slowest {max(answer):.1f} s"
    yield Figure("air.command.one.acknowledged_p99_s", round(float(np.percentile(answer, 99)), 3), "s", 4, note=note)
    note = f"1000 lamps, the worst of {SEEDS['group']} seeds"
    yield Figure("air.command.all_on.s_to_99", round(max(_of(runs, "group", "on_99_s")), 3), "s", 3, note=note)
    yield Figure("air.command.all_on.s_to_all", round(max(_of(runs, "group", "on_all_s")), 3), "s", 60, note=note)
    yield Figure(
        "air.command.all_on.taken_back", sum(_of(runs, "group", "taken_back")), "lamps", 0, note="for want of proof"
    )
    dim = np.percentile(_of(runs, "group", "dim_s"), 95)
    note = f"all lamps of {SEEDS['group']} seeds together, each at a random moment"
    yield Figure("air.command.dim.p95_s", round(float(dim), 3), "s", 20, note=note)
    yield Figure(
        "air.command.dim.s_to_all", round(max(_of(runs, "group", "dim_all_s")), 3), "s", 60, note="the worst seed"
    )


def _faults(runs: list[Run]) -> Iterator[Figure]:
    back = _of(runs, "rejoin", "back_s")
    yield Figure("air.rejoin.1000.s", round(max(back), 1), "s", 900, note=f"SF7, the worst of {SEEDS['rejoin']} seeds")
    moved = _of(runs, "bridge-death", "moved_all_s")
    each = _of(runs, "bridge-death", "moved_s")
    nodes = SCENARIOS["bridge-death"].job.nodes
    note = f"{nodes} lamps, three bridges, the worst of {SEEDS['bridge-death']} seeds; median {float(np.median(each)):.0f} s"
    yield Figure("air.bridge_death.s", round(max(moved), 1), "s", 300, note=note)
    yield Figure(
        "air.bridge_death.lost", sum(_of(runs, "bridge-death", "lost")), "reports", 0, note="of those that moved"
    )
    yield Figure(
        "air.outage.lost", sum(_of(runs, "outage", "lost")), "reports", 0, note="1000 lamps, 48 h without a bridge"
    )
    kept = f"at most {max(_of(runs, 'outage', 'kept')):.0f} reports in an outbox"
    yield Figure("air.outage.drain_h", round(max(_of(runs, "outage", "drain_h")), 2), "h", 24, note=kept)


def _law(runs: list[Run]) -> Iterator[Figure]:
    for kind in ("node", "bridge"):
        worst = max(runs, key=lambda run: run.duty.get(kind, 0.0))
        note = f"of what is allowed in any hour in a sub-band; by the ether's account, in {worst.job.scenario}"
        yield Figure(f"air.duty.{kind}", round(worst.duty.get(kind, 0.0), 4), "share", 1, note=note)
    first, again = [run for run in runs if run.job == SCENARIOS["rejoin"].job]
    yield Figure("air.trace.differs", float(first.trace != again.trace), "runs", 0, note=f"twice seed 1: {first.trace}")
    yield Figure(
        "air.failed", sum(bool(run.wrong) for run in runs), "runs", 0, note=f"of {len(runs)}; told on standard error"
    )
    yield Figure("air.cpu_s", round(sum(run.cpu_s for run in runs)), "s", note="of one core, for all of these runs")
