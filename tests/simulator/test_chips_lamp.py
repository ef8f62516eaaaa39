"""The luminaire: relay times and bounce, wear and welding, power and light, mains, and the record of lit and dark."""

from __future__ import annotations

import pytest
from felinar_sim.chips import Lamp
from felinar_sim.chips.relay import Relay

S = 1_000_000
FULL = 65_535


def test_de_energised_is_lit() -> None:
    lamp = Lamp()
    assert lamp.lit(0)
    assert lamp.power_w(0) == pytest.approx(40.0)
    lamp.pin("relay", 1, 1 * S)
    assert lamp.lit(1 * S), "the armature has not moved yet"
    assert not lamp.lit(1 * S + 100_000)
    assert lamp.power_w(2 * S) == 0.0
    lamp.pin("relay", 0, 3 * S)
    assert not lamp.lit(3 * S + 300_000), "the driver needs its start-up time"
    assert lamp.lit(4 * S)


def test_history_is_exact_without_being_watched() -> None:
    lamp = Lamp(seed=3)
    lamp.pin("relay", 1, 10 * S)
    lamp.pin("relay", 0, 20 * S)
    assert lamp.lit_spans(0, 100 * S)[0] == (0, 10 * S + 8_000 + 20_000)
    again = lamp.lit_spans(0, 100 * S)[1]
    assert 20 * S + 4_000 + 400_000 <= again[0] <= 20 * S + 6_000 + 400_000
    assert again[1] == 100 * S
    dark = lamp.dark_while_powered(0, 100 * S)
    assert dark == [(10 * S + 28_000, again[0])]


def test_a_board_that_dies_leaves_the_lamp_lit_at_full() -> None:
    lamp = Lamp()
    lamp.pwm("dim", FULL // 4, 1000, 0)
    lamp.pin("relay", 1, 1 * S)
    assert not lamp.lit(2 * S)
    lamp.pin("relay", 0, 3 * S)
    lamp.pwm("dim", 0, 0, 3 * S)
    assert lamp.level(4000 * S) == pytest.approx(1.0, abs=0.01)


def test_dimming_changes_light_and_power() -> None:
    lamp = Lamp()
    levels = []
    for step, share in enumerate((1.0, 0.6, 0.3, 0.05, 0.0)):
        lamp.pwm("dim", round(share * FULL), 1000, step * S)
        levels.append((lamp.level(step * S), lamp.power_w(step * S)))
    assert [round(level, 2) for level, _ in levels] == [1.0, 0.6, 0.3, 0.05, 0.0]
    assert [power for _, power in levels] == pytest.approx([40.0, 24.96, 13.68, 4.28, 0.4], abs=0.02)
    lamp.dim_ignored = True
    assert lamp.level(6 * S) == pytest.approx(1.0, abs=0.001)


def test_cold_lamp_draws_more_and_the_energy_is_the_integral() -> None:
    lamp = Lamp()
    lamp.pin("relay", 1, 0)
    lamp.pin("relay", 0, 7200 * S)
    start = 7201 * S
    assert lamp.power_w(start) == pytest.approx(40 * 1.028, rel=0.002)
    before = lamp.totals(start)[0]
    stepped = sum(lamp.power_w(start + i * S // 2) for i in range(7200)) / 2
    exact = lamp.totals(start + 3600 * S)[0] - before
    assert exact == pytest.approx(stepped, rel=1e-4)
    assert lamp.power_w(start + 3600 * S) == pytest.approx(40.0, rel=1e-3)


def test_integrals_do_not_depend_on_when_they_are_looked_at() -> None:
    def run(looks: int) -> tuple[float, float, float]:
        lamp = Lamp(seed=1)
        for i in range(looks):
            lamp.totals(i * 50 * S // looks)
        lamp.pin("relay", 1, 50 * S)
        lamp.pin("relay", 0, 60 * S)
        for i in range(looks):
            lamp.power_w(60 * S + i * 40 * S // looks)
        return lamp.totals(100 * S)

    assert run(0) == pytest.approx(run(977), rel=1e-9)


def test_mains() -> None:
    lamp = Lamp()
    lamp.mains(False, 10 * S)
    assert lamp.voltage_v(10 * S) == 0.0
    assert lamp.power_w(11 * S) == 0.0
    assert not lamp.lit(11 * S)
    lamp.mains(True, 20 * S)
    assert lamp.lit(21 * S)
    dark = lamp.dark_while_powered(0, 30 * S)
    assert dark == [(20 * S, 20 * S + 400_000)], "darkness without mains is not the node's doing"
    assert lamp.totals(30 * S)[2] == pytest.approx(20 * 230.0)


def test_a_gap_shorter_than_the_hold_up_is_not_seen() -> None:
    lamp = Lamp()
    lamp.mains(False, 10 * S)
    lamp.mains(True, 10 * S + 10_000)
    assert lamp.lit_spans(0, 20 * S) == [(0, 20 * S)]


def test_faults_of_the_lamp() -> None:
    lamp = Lamp()
    lamp.failed = True
    assert not lamp.lit(S)
    assert lamp.power_w(S) == pytest.approx(1.2)
    lamp.failed = False
    lamp.dead = True
    assert lamp.power_w(2 * S) == 0.0
    assert not lamp.lit(2 * S)
    lamp.dead = False
    lamp.share = 0.5
    assert lamp.level(3 * S) == pytest.approx(0.5, abs=0.03)
    lamp.share = 1.0
    lamp.lit(4 * S)
    lamp.cycling_s = 60
    spans = lamp.lit_spans(4 * S, 304 * S)
    assert len(spans) >= 5, "a cycling lamp goes out and comes back"


def test_relay_abandons_a_movement_that_was_not_felt() -> None:
    moves: list[tuple[bool, int]] = []
    relay = Relay(on_contact=lambda closed, at: moves.append((closed, at)))
    relay.coil(1, 0)
    relay.coil(0, 5_000)
    assert relay.closed(1 * S)
    assert moves == []


def test_relay_bounces_when_it_closes_and_wears() -> None:
    moves: list[tuple[bool, int]] = []
    relay = Relay(seed="x", on_contact=lambda closed, at: moves.append((closed, at)))
    for i in range(20):
        relay.coil(1, 2 * i * S)
        relay.coil(0, (2 * i + 1) * S)
    relay.advance(50 * S)
    assert relay.closings == 20
    assert relay.openings == 20
    assert relay.bounces >= 20
    assert [closed for closed, _ in moves] == [bool(i % 2) for i in range(len(moves))], "contact changes alternate"
    for closed, at in moves:
        phase = at % (2 * S)
        assert (phase == 8_000 and not closed) or S + 4_000 <= phase <= S + 6_000


def test_inrush_hits_on_every_touch() -> None:
    lamp = Lamp(seed=5)
    lamp.pin("relay", 1, 0)
    lamp.pin("relay", 0, S)
    lamp.lit(2 * S)
    assert lamp.inrushes == 1 + lamp.relay.bounces
    assert lamp.inrush_peak_a >= 100 * 40 / 230


def test_a_welded_contact_keeps_the_lamp_lit() -> None:
    lamp = Lamp()
    lamp.relay.welded = True
    lamp.pin("relay", 1, S)
    assert lamp.lit(2 * S)
    lamp.relay.welded = False
    lamp.pin("relay", 0, 3 * S)
    lamp.pin("relay", 1, 4 * S)
    assert not lamp.lit(5 * S)
    lamp.relay.stuck_open = True
    lamp.pin("relay", 0, 6 * S)
    assert not lamp.lit(8 * S)


def test_the_relay_welds_at_its_time() -> None:
    lamp = Lamp()
    lamp.relay.welds_after = 3
    for i in range(5):
        lamp.pin("relay", 1, (2 * i) * S)
        lamp.pin("relay", 0, (2 * i + 1) * S)
    assert lamp.relay.welded
    assert lamp.relay.closings == 3
    lamp.pin("relay", 1, 20 * S)
    assert lamp.lit(22 * S)


def test_a_broken_coil_releases_a_normally_closed_relay() -> None:
    lamp = Lamp()
    lamp.pin("relay", 1, 0)
    assert not lamp.lit(S)
    lamp.relay.coil_open = True
    assert lamp.lit(3 * S)
