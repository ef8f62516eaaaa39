"""Traffic and its noise: hours of the day, energy by construction, statistics, one model for samples and levels."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import numpy as np
import pytest
from felinar_sim.chips.microphone import Microphone
from felinar_sim.conditions import Position
from felinar_sim.sound import BLOCK_US, a_weighted
from felinar_sim.traffic import (
    WEEKEND_SHARES,
    WORKDAY_SHARES,
    PassBys,
    Street,
    expected_laeq,
    mean_vehicle_energy,
    vehicles_an_hour,
)  # fmt: skip
from felinar_sim.world import World

HERE = Position(47.745, 26.659)
HOUR_US = 3_600_000_000
MONDAY = int(datetime(2026, 3, 9, tzinfo=UTC).timestamp()) * 1_000_000
BLOCKS_AN_HOUR = HOUR_US // BLOCK_US


def energy_mean(levels: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(np.power(10, levels / 10))))


@pytest.fixture(scope="module")
def world() -> World:
    return World(11, zone="Europe/Bucharest")


def test_shares_of_the_day() -> None:
    for shares in (WORKDAY_SHARES, WEEKEND_SHARES):
        assert sum(shares) == pytest.approx(1)
        assert sum(shares[7:19]) == pytest.approx(0.7)
        assert sum(shares[19:23]) == pytest.approx(0.2)
    assert max(range(24), key=WORKDAY_SHARES.__getitem__) in (7, 8, 16, 17)
    assert min(range(24), key=WORKDAY_SHARES.__getitem__) in (1, 2, 3)


def test_traffic_keeps_the_hours_of_the_zone(world: World) -> None:
    rush, night = MONDAY + 6 * HOUR_US, MONDAY + HOUR_US  # 8 and 3 o'clock in Botosani
    assert world.vehicles_an_hour(rush, HERE) > 10 * world.vehicles_an_hour(night, HERE)
    solar = World(11)
    assert solar.vehicles_an_hour(MONDAY + 6 * HOUR_US, Position(0, 30)) == pytest.approx(
        solar.vehicles_an_hour(MONDAY + 8 * HOUR_US, Position(0, 0))
    )
    saturday = MONDAY + 5 * 24 * HOUR_US
    assert world.vehicles_an_hour(saturday + 6 * HOUR_US, HERE) < world.vehicles_an_hour(rush, HERE) / 2
    whole = sum(vehicles_an_hour(Street(), h + 0.5, False) for h in range(24))
    assert whole == pytest.approx(Street().vehicles_a_day)


def test_vehicles_bring_their_energy() -> None:
    street = Street(spread_db=0.0, heavy=0.0, car_db=70.0)
    pass_bys = PassBys(street, 99)
    minutes = range(5, 125)
    energies = np.concatenate([pass_bys.energies(m, (30.0, 30.0, 30.0)) for m in minutes])
    vehicles = sum(len(PassBys(street, 99)._vehicles(m, 30.0)[0]) for m in minutes)
    assert 40 < vehicles < 80
    total = energies.sum() * BLOCK_US / 1e6
    assert total == pytest.approx(vehicles * mean_vehicle_energy(street), rel=0.05)
    assert 69.5 < 10 * math.log10(energies.max()) < 75


def test_a_day_has_the_level_that_its_traffic_says(world: World) -> None:
    first = MONDAY // BLOCK_US
    levels = world.noise_levels(first, 24 * BLOCKS_AN_HOUR, HERE)
    expected = [10 ** (world.expected_laeq(MONDAY + h * HOUR_US // 4, HERE) / 10) for h in range(96)]
    assert energy_mean(levels) == pytest.approx(10 * math.log10(sum(expected) / 96), abs=0.4)
    for hour in (7, 15):
        one = levels[hour * BLOCKS_AN_HOUR : (hour + 1) * BLOCKS_AN_HOUR]
        middle = MONDAY + hour * HOUR_US + HOUR_US // 2
        assert energy_mean(one) == pytest.approx(world.expected_laeq(middle, HERE), abs=1.2)


def test_a_street_fluctuates_as_streets_do(world: World) -> None:
    day = world.noise_levels((MONDAY + 9 * HOUR_US) // BLOCK_US, BLOCKS_AN_HOUR, HERE)
    night = world.noise_levels((MONDAY + HOUR_US) // BLOCK_US, BLOCKS_AN_HOUR, HERE)
    for levels in (day, night):
        l90, l50, l10 = np.percentile(levels, [10, 50, 90])
        assert l90 < l50 < l10
        assert l10 - l90 > 5
        assert l50 < energy_mean(levels) < levels.max() - 8
    assert energy_mean(day) > energy_mean(night) + 6
    assert 25 < night.min() < day.max() < 95
    assert np.max(np.abs(np.diff(day))) < 12, "vehicles approach, they don't appear"


def test_levels_can_be_asked_for_in_any_pieces(world: World) -> None:
    first = MONDAY // BLOCK_US + 77
    whole = world.noise_levels(first, 3000, HERE)
    again = World(11, zone="Europe/Bucharest")
    pieces = [again.noise_levels(first + i, min(123, 3000 - i), HERE) for i in reversed(range(0, 3000, 123))]
    assert np.array_equal(whole, np.concatenate(list(reversed(pieces))))
    assert world.at((first + 5) * BLOCK_US + 60_000, HERE).noise_db == whole[5]
    assert len(world.noise_levels(first, 0, HERE)) == 0


def test_poles_and_seeds_differ(world: World) -> None:
    first = MONDAY // BLOCK_US
    other = world.noise_levels(first, 480, Position(47.746, 26.659))
    assert not np.array_equal(world.noise_levels(first, 480, HERE), other)
    assert not np.array_equal(World(12).noise_levels(first, 480, HERE), World(13).noise_levels(first, 480, HERE))


def test_samples_and_injected_levels_are_the_same_street(world: World) -> None:
    start = MONDAY + 9 * HOUR_US
    mic = Microphone(world.surroundings(HERE))
    mic.frames(0, 1, start)
    raw = np.frombuffer(mic.frames(48_000, 10 * 48_000, start), dtype="<i4") / 2.0**31
    blocks = np.mean(np.square(a_weighted(raw, 48_000)).reshape(-1, 6000), axis=1)
    sensitivity = 94 + 26 + 10 * math.log10(2)
    injected = np.array(world.mean_squares(HERE)(start + 1_000_000 + BLOCK_US, 80, sensitivity))
    assert 10 * np.log10(blocks) == pytest.approx(10 * np.log10(injected), abs=0.35)
    assert 10 * math.log10(np.mean(blocks) / np.mean(injected)) == pytest.approx(0, abs=0.1)
    assert energy_mean(10 * np.log10(injected) + sensitivity) == pytest.approx(
        energy_mean(world.noise_levels((start + 1_000_000) // BLOCK_US, 80, HERE)), abs=1e-9
    )


def test_expected_level_grows_with_traffic() -> None:
    street = Street()
    assert expected_laeq(street, 200, 40) - expected_laeq(street, 100, 40) == pytest.approx(3.0, abs=0.1)
    assert 58 < expected_laeq(street, 250, 45) < 66, "a town street by day"
