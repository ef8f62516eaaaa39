"""What a report's relay, dimmer and power prove about a lamp."""

from __future__ import annotations

import pytest
from felinar.api import Mode
from felinar.measured import judge, learn_full


@pytest.mark.parametrize(
    ("mode", "level", "relay", "dim", "power", "full", "fits"),
    [
        ("on", None, 1, 100, 60.0, 60.0, True),
        ("on", None, 1, 100, 60.0, None, True),
        ("on", None, 1, 100, 0.4, 60.0, False),
        ("on", None, 1, 60, 60.0, 60.0, False),
        ("on", None, 0, 100, 60.0, 60.0, False),
        ("on", None, 1, 100, 36.0, 60.0, False),
        ("off", None, 0, 0, 0.4, 60.0, True),
        ("off", None, 0, 0, 60.0, 60.0, False),
        ("off", None, 1, 0, 0.4, 60.0, False),
        ("dim", 60, 1, 60, 36.0, 60.0, True),
        ("dim", 60, 1, 60, 30.0, 60.0, True),
        ("dim", 60, 1, 60, 60.0, 60.0, False),
        ("dim", 60, 1, 60, 0.5, 60.0, False),
        ("dim", 60, 1, 100, 36.0, 60.0, False),
        ("dim", 60, 1, None, 36.0, 60.0, True),
        ("dim", 5, 1, 5, 3.0, 60.0, True),
        ("dim", 5, 1, 5, 0.4, 60.0, False),
        ("dim", 60, 1, 60, 36.0, None, True),
        ("dim", 60, 1, 60, 1.5, None, False),
        ("dim", 10, 1, 10, 1.0, 10.0, True),
        ("auto", None, 1, 80, 48.0, 60.0, True),
        ("auto", None, 1, 80, 0.4, 60.0, False),
        ("auto", None, 0, 0, 0.4, 60.0, True),
        ("auto", None, 0, 0, 48.0, 60.0, False),
        ("on", None, 1, 100, None, 60.0, None),
        ("on", None, None, 100, 60.0, 60.0, None),
    ],
)
def test_verdicts(
    mode: Mode, level: int | None, relay: int, dim: int, power: float, full: float | None, fits: bool | None
) -> None:
    verdict = judge(mode, level, relay=relay, dim=dim, power_w=power, full_w=full)
    assert verdict.fits is fits
    assert verdict.words


def test_full_power_is_learnt_up_at_once_and_down_slowly() -> None:
    full = None
    for power in (0.4, 20.0, 61.0):
        full = learn_full(full, relay=1, dim=100, power_w=power)
    assert full == 61.0
    assert learn_full(full, relay=1, dim=60, power_w=36.0) == 61.0
    assert learn_full(full, relay=0, dim=100, power_w=0.3) == 61.0
    assert learn_full(full, relay=1, dim=100, power_w=51.0) == 60.8
    assert learn_full(None, relay=1, dim=100, power_w=None) is None
