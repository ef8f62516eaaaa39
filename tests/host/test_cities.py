"""The city presets: all eight, sane, found by any spelling, and one clear error for the others."""

from __future__ import annotations

from datetime import datetime

import pytest
from felinar.cities import City, cities, city
from felinar.errors import ConfigError

DI4C = {"messina", "roquetas-de-mar", "oulu", "saint-quentin", "limerick", "ventspils", "portalegre", "botosani"}


def test_the_eight_cities_are_there() -> None:
    assert {preset.slug for preset in cities()} == DI4C
    assert len(cities()) == 8


@pytest.mark.parametrize("preset", cities(), ids=lambda preset: preset.slug)
def test_each_preset_is_sane(preset: City) -> None:
    assert 35 < preset.lat < 66
    assert -10 < preset.lon < 28
    assert len(preset.country) == 2
    assert preset.country.isupper()
    assert len(preset.language) == 2
    offset = datetime(2026, 1, 15, 12, tzinfo=preset.timezone).utcoffset()
    assert offset is not None
    # Every zone's winter time lies within two hours of the sun's.
    assert abs(offset.total_seconds() / 3600 - preset.lon / 15) < 2


@pytest.mark.parametrize("spelling", ["botosani", "Botoșani", "BOTOSANI", "Botoşani"])
def test_any_spelling_finds_the_city(spelling: str) -> None:
    assert city(spelling).zone == "Europe/Bucharest"


def test_names_with_spaces_and_hyphens() -> None:
    assert city("Roquetas de Mar") == city("roquetas-de-mar") == city("roquetas_de_mar")
    assert city("saint quentin").country == "FR"


@pytest.mark.parametrize("unknown", ["Atlantis", "", "oul"])
def test_an_unknown_city_is_one_clear_error(unknown: str) -> None:
    with pytest.raises(ConfigError) as caught:
        city(unknown)
    assert repr(unknown) in caught.value.sentence
    for slug in DI4C:
        assert slug in caught.value.remedy
