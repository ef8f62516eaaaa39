"""Streets on the air with the real firmware, seed after seed as long as there is time: `make soak SOAK_SECONDS=3600`."""

from __future__ import annotations

import os
import random
import shutil
import time
from pathlib import Path

import pytest
from felinar_bench.air_town import applications

from tests.firmware.air_scenarios import BOARD, SCENARIOS, Where, play

SECONDS = float(os.environ.get("SOAK_SECONDS", "600"))
SEED = int(os.environ.get("SOAK_SEED", "0"))
"""Where the seeds begin; 0: anywhere, so that every night tries others."""


def test_seeds_of_the_air(tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]) -> None:
    """Every scenario has its turn with new seeds; the first that fails ends it, with the command that replays it."""

    def tell(text: str) -> None:
        with capsys.disabled():
            print(text, flush=True)

    folder = tmp_path_factory.mktemp("town")
    apps = applications(BOARD, folder / "apps")
    seed = SEED or random.SystemRandom().randrange(1, 1 << 24)
    until = time.monotonic() + SECONDS
    played = 0
    while not played or time.monotonic() < until:
        name = sorted(SCENARIOS)[played % len(SCENARIOS)]
        one = folder / "one"
        one.mkdir()
        tell(f"{name} --seed {seed}")
        play(Where(Path(one), apps, lambda text: tell(f"  {text}")), name, seed)
        shutil.rmtree(one)
        played += 1
        seed += played % len(SCENARIOS) == 0
    tell(f"{played} streets, seeds up to {seed}")
