"""Seeds of the air's scenarios, as many as there is time for: `make soak SOAK_SECONDS=3600`."""

from __future__ import annotations

import itertools
import os
import time

import pytest
from felinar_bench.air_scenarios import SCENARIOS, perform, small

SECONDS = float(os.environ.get("SOAK_SECONDS", "300"))
FIRST = int(os.environ.get("SOAK_SEED", "1000"))


def test_seeds_of_every_scenario(capsys: pytest.CaptureFixture[str]) -> None:
    """The small size of each scenario in turn, a new seed each round; every tenth round runs twice for the same trace."""
    end = time.monotonic() + SECONDS
    failed: list[str] = []
    runs = 0
    for seed in itertools.count(FIRST):
        for name in SCENARIOS:
            job = small(name, seed)
            run = perform(job)
            runs += 1
            failed += [f"{name}, seed {seed}: {what}; replay: {job.command}" for what in run.wrong]
            if seed % 10 == 0 and perform(job).trace != run.trace:
                failed.append(f"{name}, seed {seed}: another trace the second time; replay: {job.command}")
        if time.monotonic() > end:
            break
    with capsys.disabled():
        print(f"air: {runs} runs, seeds {FIRST} to {seed}, {len(failed)} failed", flush=True)
    assert not failed, "\n".join(failed)
