"""The air's benchmark in small: each scenario with a few seeds; what fails is told with what replays it."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
from felinar_air import plan
from felinar_bench import __main__ as command
from felinar_bench import air_scenarios as scenarios
from felinar_bench.air_lamp import ACC, BASE, COMMAND, FIRST, GROUP, JOIN, RESULT
from felinar_bench.air_scenarios import SCENARIOS, Run, perform, small
from felinar_bench.air_street import Street
from felinar_sim.ether import EtherError
from felinar_wire import frame, join, schema, tesla


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("name", sorted(SCENARIOS))
def test_a_scenario_in_small(name: str, seed: int) -> None:
    job = small(name, seed)
    run = perform(job)
    assert run.wrong == [], f"replay: {job.command}"
    assert run.values and run.trace
    assert 0 < max(run.duty.values()) < 1


def test_a_seed_gives_the_same_trace_and_another_one_another() -> None:
    job = replace(small("rejoin", 5), nodes=40, hours=0.1)
    assert perform(job).trace == perform(job).trace != perform(replace(job, seed=6)).trace


def test_random_access_loses_what_collides() -> None:
    few, many = (perform(replace(small("aloha", 1), nodes=nodes)).values["delivered"][0] for nodes in (50, 800))
    assert few > 0.74 and many < 0.62
    assert perform(replace(small("lbt", 1), nodes=800)).values["delivered"][0] > many + 0.1


def test_sizes_that_are_modelled_are_those_of_frames() -> None:
    root = bytes(16)
    assert len(join.request(root, 1, 1, schema.VERSION, 1)) == JOIN
    sealed = frame.HEADER + 8
    assert (COMMAND - sealed, RESULT - sealed, GROUP - sealed) == (10, 5, 16)
    assert ACC >= JOIN + 16, "with a key of the chain"


def test_streets_begin_with_a_days_chain_and_a_slot_cycle() -> None:
    assert FIRST % tesla.DAY == 0 and FIRST % plan.CYCLE == 0
    assert BASE == FIRST * plan.INTERVAL


def test_a_report_that_comes_wrong_is_not_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    street = Street(1, 3)
    right = street.values
    monkeypatch.setattr(
        street, "values", lambda lamp, seq: [*right(lamp, seq)[:1], street.now % 7, *right(lamp, seq)[2:]]
    )
    street.run(1500)
    assert street.wrong
    assert street.delivered(0)[0] < street.delivered(0)[1]


def test_what_the_law_forbids_fails_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def loud(job: scenarios.Job, run: Run) -> None:
        street = Street(job.seed, 2)
        lamp = street.lamps[0]
        while True:
            street.transmit(lamp, None, 200)
            street.run(1)

    monkeypatch.setitem(SCENARIOS, "tdma", replace(SCENARIOS["tdma"], run=loud))
    run = perform(small("tdma", 1))
    assert len(run.wrong) == 1 and "on the air for 36" in run.wrong[0]
    assert EtherError("x").args


def test_a_limit_that_is_missed_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def slow(job: scenarios.Job, run: Run) -> None:
        run.limit("back_s", math.inf, most=900)

    monkeypatch.setitem(SCENARIOS, "rejoin", replace(SCENARIOS["rejoin"], run=slow))
    given = ["air", "--json", "--check", "--scenario", "rejoin", "--seed", "7", "--nodes", "9"]
    assert command.main(given) == 1
    out, err = capsys.readouterr()
    assert json.loads(out.splitlines()[-1])["value"] == 1
    assert "python -m felinar_bench air --scenario rejoin --seed 7 --nodes 9 --sf 7 --hours 1" in err


def test_one_scenario_from_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    given = ["air", "--json", "--check", "--scenario", "command", "--nodes", "20", "--hours", "0.05", "--seeds", "2"]
    assert command.main(given) == 0
    out, err = capsys.readouterr()
    names = [json.loads(line)["figure"] for line in out.splitlines()]
    assert names.count("air.command.relay_p99_s") == 2 and names[-1] == "air.failed"
    assert err.count("trace ") == 2
    with pytest.raises(SystemExit):
        command.main(["air", "--scenario", "nothing"])
    with pytest.raises(SystemExit):
        command.main(["wire", "--scenario", "rejoin"])
