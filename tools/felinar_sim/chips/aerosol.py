"""What optical particle sensors have in common: warming up, their own noise, and fog that they take for dust.

Sources: hygroscopic growth of the scattering, 1 + 0.25 rh^2 / (1 - rh): Laulainen, PNL-8804 (1993), as used for
optical monitors by Chakrabarti et al., Atmospheric Environment 38 (2004) 3329. Data sheets give their precision up to
70 %, so growth counts from there.
"""

from __future__ import annotations

import math
import random

_DRY = 0.70


def growth(humidity_pct: float) -> float:
    """How many times too much mass an optical sensor sees in air of this humidity; 1.0 up to 70 %, 3.9 at 95 %."""

    def factor(rh: float) -> float:
        return 1 + 0.25 * rh * rh / (1 - rh)

    rh = min(humidity_pct / 100, 0.98)
    return factor(rh) / factor(_DRY) if rh > _DRY else 1.0


def warming(elapsed_us: int, needed_s: float) -> float:
    """The share of its final value that a reading has so long after the start; 0.993 when the needed time has
    passed."""
    return 1 - math.exp(-5 * max(elapsed_us, 0) / 1e6 / needed_s)


def disturbed(
    masses: list[float],
    factor: float,
    rng: random.Random,
    *,
    relative: float,
    absolute: float,
) -> list[float]:
    """Masses in ug/m3 as one measurement sees them: all sizes share one disturbance, so they stay in order; never
    negative."""
    scale = factor * max(0.0, rng.gauss(1.0, relative))
    offset = rng.gauss(0.0, absolute)
    return [max(mass * scale + offset, 0.0) for mass in masses]
