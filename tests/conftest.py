"""What tests of several folders share: the radio board's application, built once for all that run it."""

from __future__ import annotations

from pathlib import Path

import pytest
from felinar_bench.air_town import applications

from tests.support.micropython import ROOT


@pytest.fixture(scope="session")
def apps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The simulated radio board's application in both roles, `lamp` and `bridge`, as .mpy."""
    return applications(ROOT / "boards" / "sim_radio" / "board.toml", tmp_path_factory.mktemp("air"))
