"""City presets: where a city lies, which time it keeps and which language it speaks."""

from __future__ import annotations

import functools
import tomllib
import unicodedata
from dataclasses import dataclass
from importlib.resources import files
from zoneinfo import ZoneInfo

from felinar.errors import ConfigError


@dataclass(frozen=True, slots=True)
class City:
    """A city; `lat` and `lon` in degrees north and east (WGS 84), `zone` an IANA time zone, `language` ISO 639-1,
    `country` ISO 3166-1 alpha-2."""

    slug: str
    name: str
    country: str
    lat: float
    lon: float
    zone: str
    language: str

    @property
    def timezone(self) -> ZoneInfo:
        """The city's time zone, for conversions."""
        return ZoneInfo(self.zone)


@functools.cache
def cities() -> tuple[City, ...]:
    """All presets, in the order of the file."""
    text = (files("felinar") / "data" / "cities.toml").read_text(encoding="utf-8")
    return tuple(City(**entry) for entry in tomllib.loads(text)["city"])


def city(name: str) -> City:
    """The preset of that name or slug, whatever its case, accents and hyphens; raises ConfigError that lists the
    known ones."""
    wanted = _plain(name)
    for preset in cities():
        if wanted in (_plain(preset.slug), _plain(preset.name)):
            return preset
    known = ", ".join(preset.slug for preset in cities())
    raise ConfigError(f"There is no city preset {name!r}.", f"Known are: {known}.")


def _plain(text: str) -> str:
    """Letters and digits only, lower case, without accents: 'Botoșani' and 'botosani' are one."""
    return "".join(c for c in unicodedata.normalize("NFKD", text).casefold() if c.isalnum())
