"""Whether a report shows a lamp as it was ordered: what its relay, its dimmer and its power say together.

The meter decides. A driver in standby takes at most 0.5 W (Regulation (EU) 2019/2020, annex II) and a pulse meter of
the BL0937's kind is unsure by some tenths of a watt, so a lamp counts as dark up to 2 W, or 5 % of its full power when
that is less, but never below 0.5 W. An LED driver's power follows its dimming level only roughly (losses of its own,
curves of makers), so a dimmed lamp may differ by 25 % of full power either way. Dim 60 % of a 60 W lamp is measured
between 21 and 51 W: not dark, not full. Before a lamp's full power is known, lit is all that its power can prove.
"""

from __future__ import annotations

from dataclasses import dataclass

from felinar.api import Mode

TOLERANCE = 0.25
"""Of full power, either way."""
_DARK_W, _DARK_LEAST_W, _DARK_PART = 2.0, 0.5, 0.05


@dataclass(frozen=True, slots=True)
class Verdict:
    """`fits`: as ordered or not, None when the report can't tell. `words` say why."""

    fits: bool | None
    words: str


def dark_below(full_w: float | None) -> float:
    """Power in W up to which a lamp counts as dark."""
    return _DARK_W if full_w is None else min(_DARK_W, max(_DARK_LEAST_W, _DARK_PART * full_w))


def span(level: int, full_w: float | None) -> tuple[float, float]:
    """Power in W between which a lamp at that level in % counts as lit so."""
    dark = dark_below(full_w)
    if full_w is None:
        return dark, float("inf")
    return max(dark, (level / 100 - TOLERANCE) * full_w), (level / 100 + TOLERANCE) * full_w


def judge(
    mode: Mode,
    level: int | None,
    *,
    relay: float | None,
    dim: float | None,
    power_w: float | None,
    full_w: float | None,
) -> Verdict:
    """Compare an order with one report; `auto` only asks that relay and power agree."""
    if relay is None or power_w is None:
        return Verdict(None, "the report has no relay state or no power")
    dark = dark_below(full_w)
    lit = mode in ("on", "dim") or (mode == "auto" and relay == 1)
    if not lit:
        if relay != 0:
            return Verdict(False, "the relay is still closed")
        return Verdict(power_w <= dark, f"dark takes up to {dark:.1f} W, {power_w:.1f} W measured")
    if relay != 1:
        return Verdict(False, "the relay is open")
    if mode == "auto":
        return Verdict(power_w > dark, f"lit takes more than {dark:.1f} W, {power_w:.1f} W measured")
    wanted = 100 if mode == "on" or level is None else level
    if dim is not None and abs(dim - wanted) > 1:
        return Verdict(False, f"the dimmer stands at {dim:.0f} %, not at {wanted} %")
    low, high = span(wanted, full_w)
    return Verdict(low < power_w <= high, f"{wanted} % takes {low:.1f} to {high:.1f} W, {power_w:.1f} W measured")


def learn_full(full_w: float | None, *, relay: float | None, dim: float | None, power_w: float | None) -> float | None:
    """What a lamp is known to take at full level after one more report; follows up at once, down slowly (ageing)."""
    if relay != 1 or dim is None or dim < 99 or power_w is None or power_w <= _DARK_W:
        return full_w
    if full_w is None or power_w > full_w:
        return power_w
    return round(full_w + (power_w - full_w) / 50, 2)
