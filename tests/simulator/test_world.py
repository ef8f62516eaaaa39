"""The world: sun against astral, light, the recorded year and its gaps, the generator, humidity, dust, determinism."""

from __future__ import annotations

import csv
import random
import statistics
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from astral import LocationInfo, Observer
from astral.sun import elevation as astral_elevation
from felinar_sim.chips import Lamp
from felinar_sim.conditions import Position
from felinar_sim.errors import SimulatorError
from felinar_sim.sun import clear_sky_lux, cloud_transmission, elevation, refraction
from felinar_sim.weather import HOUR_US, GeneratedWeather, RecordedYear, Smooth
from felinar_sim.world import World

BOTOSANI = Position(47.745, 26.659)
PLACES = [BOTOSANI, Position(65.01, 25.47), Position(36.76, -2.61), Position(-33.9, 151.2)]
RECORD = Path(__file__).resolve().parents[2] / "tools/felinar_sim/data/bergen_klosterhaugen_2019.csv"


def us(*when: int) -> int:
    return int(datetime(*when, tzinfo=UTC).timestamp()) * 1_000_000  # type: ignore[arg-type,misc]


@pytest.fixture(scope="module")
def world() -> World:
    return World("tests", zone="Europe/Bucharest")


@pytest.fixture(scope="module")
def record() -> list[dict[str, str]]:
    with RECORD.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("place", PLACES, ids=["Botosani", "Oulu", "Roquetas", "Sydney"])
def test_the_sun_stands_where_astral_says(place: Position) -> None:
    observer = Observer(place.lat, place.lon)
    assert LocationInfo("x", "y", "UTC", place.lat, place.lon).observer == observer
    rng = random.Random(7)
    worst = 0.0
    for _ in range(400):
        moment = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(seconds=rng.randrange(7 * 366 * 86_400))
        now_us = int(moment.timestamp()) * 1_000_000
        geometric = elevation(now_us, place)
        worst = max(worst, abs(geometric - astral_elevation(observer, moment, with_refraction=False)))
    assert worst < 0.1


def test_refraction_lifts_the_setting_sun() -> None:
    assert refraction(-0.57) == pytest.approx(34 / 60, abs=0.08)
    assert refraction(45) == pytest.approx(1 / 60, abs=0.002)
    assert refraction(-10) == 0.0


@pytest.mark.parametrize(
    ("deg", "lux", "within"),
    [(90, 128_000, 0.02), (45, 90_000, 0.15), (10, 10_900, 0.1), (0, 759, 0.02), (-0.833, 450, 0.15), (-6, 3.4, 0.1),
     (-12, 0.0081, 0.1), (-18, 0.00065, 0.1)],
)  # fmt: skip
def test_light_of_a_clear_sky(deg: float, lux: float, within: float) -> None:
    """From 0 degrees down the values are those of the Explanatory Supplement's table of natural illuminance."""
    assert clear_sky_lux(deg) == pytest.approx(lux, rel=within)


def test_light_rises_with_the_sun_without_jumps() -> None:
    values = [clear_sky_lux(i / 20) for i in range(-20 * 20, 90 * 20)]
    assert all(a <= b * 1.001 for a, b in pairwise(values))
    assert all(b < a * 1.25 for a, b in pairwise(values))
    assert cloud_transmission(0) == 1
    assert cloud_transmission(1) == pytest.approx(0.25)


def test_day_and_night_in_the_street(world: World) -> None:
    noon, night = world.at(us(2026, 6, 21, 10, 15), BOTOSANI), world.at(us(2026, 6, 21, 22, 15), BOTOSANI)
    assert noon.sun_elevation_deg == pytest.approx(65.7, abs=0.3)
    assert noon.sky_lux > 20_000
    assert night.sky_lux < 1
    oulu = world.at(us(2026, 6, 21, 22, 20), PLACES[1])
    assert oulu.sky_lux > 50, "no night in Oulu's June"


def test_the_lamp_lights_its_own_sensor(world: World) -> None:
    lamp = Lamp()
    around = world.surroundings(BOTOSANI, lamp)
    night = us(2026, 12, 21, 22)
    assert around(night).lux == pytest.approx(2.5, abs=0.2)
    lamp.pin("relay", 1, night)
    assert around(night + 1_000_000).lux < 0.01


def test_recorded_values_come_at_their_hours(world: World, record: list[dict[str, str]]) -> None:
    rng = random.Random(3)
    for row in rng.sample(record, 300):
        hour = datetime.fromisoformat(row["time_utc"]).replace(year=2027)
        here = world.at(int(hour.timestamp()) * 1_000_000, BOTOSANI)
        for name, value in (("pm25_ugm3", here.pm25), ("temperature_c", here.temperature_c), ("wind_ms", here.wind_ms),
                            ("rain_mm", here.rain_mm_h)):  # fmt: skip
            expected = float(row[name]) if row[name] else None
            assert value == expected, f"{name} at {hour}"


def test_every_gap_of_the_record_is_a_gap_for_its_whole_hour(record: list[dict[str, str]]) -> None:
    year = RecordedYear()
    gaps = [i for i, row in enumerate(record) if not row["pm25_ugm3"]]
    assert len(gaps) == 15
    start = us(2025, 1, 1)
    for i in gaps:
        for minute in (0, 1, 30, 59):
            assert year.at(start + i * HOUR_US + minute * 60_000_000, BOTOSANI).pm25 is None
    known = 0
    for i in range(8760):
        if i not in gaps:
            assert year.at(start + i * HOUR_US + HOUR_US // 2, BOTOSANI).pm25 is not None
            known += 1
    assert known == 8745


def test_values_are_interpolated_between_hours(record: list[dict[str, str]]) -> None:
    year = RecordedYear()
    half = year.at(us(2026, 1, 1, 0, 30), BOTOSANI)
    assert half.pm25 == pytest.approx((float(record[0]["pm25_ugm3"]) + float(record[1]["pm25_ugm3"])) / 2)
    assert half.rain_mm_h == float(record[0]["rain_mm"])
    last = year.at(us(2026, 12, 31, 23, 30), BOTOSANI)
    assert last.pm25 == pytest.approx((float(record[-1]["pm25_ugm3"]) + float(record[0]["pm25_ugm3"])) / 2)


def test_the_leap_day_repeats_the_day_before() -> None:
    assert RecordedYear.row(us(2028, 2, 29, 7)) == RecordedYear.row(us(2028, 2, 28, 7))
    assert RecordedYear.row(us(2028, 3, 1)) == RecordedYear.row(us(2027, 3, 1)) == 59 * 24
    assert RecordedYear.row(us(2028, 12, 31, 23)) == 8759


def test_a_bad_record_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(SimulatorError, match="cannot read"):
        RecordedYear(tmp_path / "none.csv")
    short = tmp_path / "short.csv"
    short.write_text("time_utc,pm25_ugm3\n2019-01-01T00:00:00Z,1\n")
    with pytest.raises(SimulatorError, match="columns"):
        RecordedYear(short)
    lines = RECORD.read_text(encoding="utf-8").splitlines()
    short.write_text("\n".join(lines[:100]))
    with pytest.raises(SimulatorError, match="8760"):
        RecordedYear(short)
    short.write_text("\n".join([*lines[:5], lines[5].replace(",", ",x", 1), *lines[6:]]))
    with pytest.raises(SimulatorError, match="x"):
        RecordedYear(short)


def test_dust_sizes_stay_in_order_and_near_their_ratios(world: World) -> None:
    ratios = []
    for hour in range(0, 8760, 13):
        here = world.at(us(2026, 1, 1) + hour * HOUR_US, BOTOSANI)
        if here.pm25 is None:
            assert (here.pm1, here.pm4, here.pm10) == (None, None, None)
            continue
        assert here.pm1 is not None
        assert here.pm4 is not None
        assert here.pm10 is not None
        assert 0 <= here.pm1 <= here.pm25 <= here.pm4 <= here.pm10
        ratios.append(here.pm25 / here.pm10)
    assert statistics.mean(ratios) == pytest.approx(0.73, abs=0.03)


def test_humidity_falls_by_day_and_pressure_stays_in_its_range(world: World) -> None:
    days = [us(2026, 7, 1) + d * 24 * HOUR_US for d in range(25)]
    by_day = statistics.mean(world.at(d + 13 * HOUR_US, BOTOSANI).humidity_pct for d in days)
    by_night = statistics.mean(world.at(d + 2 * HOUR_US, BOTOSANI).humidity_pct for d in days)
    assert by_night > by_day + 5
    year = [world.at(us(2026, 1, 1) + h * HOUR_US, BOTOSANI) for h in range(0, 8760, 7)]
    assert all(12 <= c.humidity_pct <= 100 for c in year)
    assert all(970 < c.pressure_hpa < 1050 for c in year)
    assert statistics.stdev(c.pressure_hpa for c in year) > 5
    assert all(400 < c.co2_ppm < 1000 for c in year)
    rainy = [c.humidity_pct for c in year if c.rain_mm_h]
    assert statistics.mean(rainy) > statistics.mean(c.humidity_pct for c in year)


def test_clouds_darken_the_day_and_rain_more(world: World) -> None:
    shares: dict[bool, list[float]] = {True: [], False: []}
    for day in range(200):
        for minute in (0, 20):
            now_us = us(2026, 4, 1, 10) + day * 24 * HOUR_US + minute * 60_000_000
            here = world.at(now_us, BOTOSANI)
            if here.rain_mm_h is not None:
                shares[here.rain_mm_h > 0.2].append(here.sky_lux / clear_sky_lux(here.sun_elevation_deg))
    assert statistics.mean(shares[True]) < 0.5 < statistics.mean(shares[False])
    assert max(shares[False]) > 0.98


def test_same_seed_same_world_in_any_order() -> None:
    moments = [us(2026, 3, 1) + i * 777_777_777 for i in range(50)]
    first, second = World(5), World(5)
    forward = [first.at(t, BOTOSANI) for t in moments]
    backward = [second.at(t, BOTOSANI) for t in reversed(moments)]
    assert forward == list(reversed(backward))
    assert World(6).at(moments[0], BOTOSANI) != forward[0]
    assert World("5").at(moments[0], BOTOSANI) != forward[0]


def test_generated_weather_is_plausible_everywhere() -> None:
    weather = GeneratedWeather(1)

    def temperatures(place: Position, month: int) -> list[Any]:
        start = us(2026, month, 1)
        return [weather.at(start + h * HOUR_US, place) for h in range(0, 28 * 24, 3)]

    for place, january, july in ((PLACES[1], (-22, 2), (8, 24)), (PLACES[2], (4, 18), (19, 34))):
        assert january[0] < statistics.mean(w.temperature_c for w in temperatures(place, 1)) < january[1]
        assert july[0] < statistics.mean(w.temperature_c for w in temperatures(place, 7)) < july[1]
    everything = temperatures(BOTOSANI, 5)
    assert all(w.pm25 > 0 and w.wind_ms >= 0 and w.rain_mm_h >= 0 for w in everything)
    assert 0.03 < statistics.mean(w.rain_mm_h > 0 for w in everything) < 0.4
    assert World(1, weather=weather).at(us(2026, 5, 1), BOTOSANI).pm25 == weather.at(us(2026, 5, 1), BOTOSANI).pm25


def test_smooth_noise() -> None:
    noise = Smooth(1, "x", 1000)
    values = [noise.at(i * 317) for i in range(20_000)]
    assert statistics.mean(values) == pytest.approx(0, abs=0.05)
    assert statistics.stdev(values) == pytest.approx(1, abs=0.05)
    assert max(abs(noise.at(t + 1) - noise.at(t)) for t in range(5000)) < 0.02
    assert Smooth(1, "y", 1000).at(5) != noise.at(5)


def test_an_unknown_time_zone_is_one_clear_error() -> None:
    with pytest.raises(SimulatorError, match="Europe/Nowhere"):
        World(zone="Europe/Nowhere")
