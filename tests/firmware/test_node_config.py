"""The configuration: every value that cannot be used falls back alone, is named, and nothing raises."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.firmware.loader import node

config = node("config")
parse = node("schedule").parse
GOOD = {
    "address": 7,
    "name": "Strada Unirii 1",
    "lat": 47.745,
    "lon": 26.659,
    "report_s": 5,
    "lamp": {"on_below_deg": -0.833, "dim": [["23:00", 60], ["05:00", 100]], "utc_offset_min": 120},
}


def test_takes_what_is_good() -> None:
    c = config.read(GOOD)
    assert c.bad == []
    assert (c.address, c.place, c.report_s) == (7, (47.745, 26.659), 5)
    assert len(c.programs) == 1
    assert c.programs == parse(GOOD["lamp"])[0]
    assert c.trial_s == 600
    assert (c.on_below_deg, c.utc_offset_min, c.summer_time) == (-0.833, 120, False)


@pytest.mark.parametrize("data", [None, [], 5, "x", True])
def test_what_is_no_configuration_is_all_defaults(data: Any) -> None:
    c = config.read(data)
    assert c.bad == ["config"]
    assert (c.address, c.place, c.report_s, list(c.programs)) == (65534, None, 300, [])


@pytest.mark.parametrize(
    ("change", "bad"),
    [
        ({"address": 0}, "address"),
        ({"address": 65535}, "address"),
        ({"address": "1"}, "address"),
        ({"address": True}, "address"),
        ({"lat": 91}, "lat"),
        ({"lon": float("nan")}, "lon"),
        ({"report_s": 0}, "report_s"),
        ({"report_s": 2.5}, "report_s"),
        ({"lamp": {"utc_offset_min": None}}, "lamp.utc_offset_min"),
        ({"trial_s": 59}, "trial_s"),
        ({"lat": True}, "lat"),
        ({"lamp": {"dim": [["24:00", 1]]}}, "lamp.programs"),
        ({"lamp": {"programs": [{"dim": []}, {"days": "xx", "dim": []}]}}, "lamp.programs"),
        ({"lamp": {"summer_time": 1}}, "lamp.summer_time"),
        ({"lamp": 3}, "lamp."),
    ],
)
def test_one_bad_value_spoils_no_other(change: dict[str, Any], bad: str) -> None:
    c = config.read({**GOOD, **change})
    assert c.bad == [bad]
    default = config.read({})
    good = config.read(GOOD)
    for name in ("address", "lat", "lon", "report_s"):
        assert getattr(c, name) == getattr(default if name == bad else good, name)


words = st.text("ab0123:", max_size=6)
leaves = st.none() | st.booleans() | st.integers() | st.floats() | words
json_values = (
    leaves | st.lists(leaves | st.lists(leaves, max_size=3), max_size=3) | st.dictionaries(words, leaves, max_size=3)
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.dictionaries(st.sampled_from(["address", "lat", "lon", "report_s", "lamp"]), json_values),
    st.dictionaries(st.sampled_from(["dim", "on_below_deg", "utc_offset_min", "min_on_s", "min_off_s"]), json_values),
)
def test_nothing_in_a_file_can_stop_the_node(data: dict[str, Any], lamp: dict[str, Any]) -> None:
    for content in (data, {**data, "lamp": lamp}):
        c = config.read(content)
        assert 1 <= c.address <= 65534
        assert 1 <= c.report_s <= 86400
        assert -18 <= c.on_below_deg <= 18
        assert all(0 <= level <= 100 for program in c.programs for _, level in program[3])
