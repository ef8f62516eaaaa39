"""The node's application, built once for all tests that run it."""

from __future__ import annotations

from pathlib import Path

import pytest
from felinar_build import app as build

from tests.support.micropython import ROOT


@pytest.fixture(scope="session")
def node_app(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The simulated board's application as .mpy, as it goes to a chip."""
    out = tmp_path_factory.mktemp("node") / "app"
    build.build(ROOT / "boards" / "sim" / "board.toml", out, mpy=True)
    return out
