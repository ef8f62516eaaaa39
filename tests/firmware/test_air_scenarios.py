"""A street on the air through what happens to it, with the real firmware and the host's planner: one seed each (more: make soak)."""

from __future__ import annotations

from pathlib import Path

import pytest
from felinar_bench import air_full_stack
from felinar_bench.air_town import applications

from tests.firmware.air_scenarios import BOARD, SCENARIOS, Where, play


@pytest.fixture(scope="module")
def where(tmp_path_factory: pytest.TempPathFactory) -> Where:
    folder = tmp_path_factory.mktemp("town")
    return Where(folder, applications(BOARD, folder / "apps"))


@pytest.mark.parametrize("name", sorted(SCENARIOS))
def test_scenario(where: Where, name: str) -> None:
    play(where, name, 1)


def test_a_failure_says_how_to_replay_it(where: Where, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(where: Where, seed: int) -> None:
        assert seed == 1, "something"

    monkeypatch.setitem(SCENARIOS, "sf9", fails)
    play(where, "sf9", 1)
    with pytest.raises(AssertionError, match=r"replay: python -m tests.firmware.air_scenarios sf9 --seed 7\nsomething"):
        play(where, "sf9", 7)


def test_the_figures_of_the_full_stack(where: Where) -> None:
    found = {one.figure: one for one in air_full_stack.figures(2, 0.65, 1, apps=Path(where.apps))}
    assert found["air.full_stack.nodes"].value == 2
    assert found["air.full_stack.delivered"].value == 1
    assert found["air.full_stack.wrong"].value == 0
    assert 0 < found["air.full_stack.duty"].value < 1
    assert 1 <= found["air.full_stack.tx_per_report"].value < 2.5
    assert found["air.sim.node_days_per_minute"].value > 0
    assert found["air.scales.tx_ratio"].value >= 1
