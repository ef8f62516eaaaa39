"""The node's configuration: read from config.json, each bad value falling back to its default and being counted."""

from micropython import const

_NOBODY = const(65534)  # the address of a node that was given none


def _number(low, high):
    def check(value):
        return (
            value if isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high else None
        )

    return check


def _whole(low, high):
    def check(value):
        return value if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high else None

    return check


def profile(entries):
    """[["23:00", 60], ...] as ((minute, level), ...) in the day's order; None when any of it makes no sense."""
    found = []
    try:
        for clock, level in entries:
            hour, minute = clock.split(":")
            minute = int(hour) * 60 + int(minute)
            if not 0 <= minute < 1440 or isinstance(level, bool) or not isinstance(level, int) or not 0 <= level <= 100:
                return None
            found.append((minute, level))
    except (AttributeError, TypeError, ValueError):
        return None
    found.sort()
    return tuple(found)


# (name, default, check): check gives the value to use, None for a bad one.
_NODE = (
    ("address", _NOBODY, _whole(1, _NOBODY)),
    ("lat", None, _number(-90, 90)),
    ("lon", None, _number(-180, 180)),
    ("report_s", 300, _whole(1, 86400)),
)
_LAMP = (
    ("on_below_deg", -0.833, _number(-18, 18)),
    ("dim", (), profile),
    ("utc_offset_min", 0, _whole(-840, 840)),
    ("summer_time", False, lambda value: value if isinstance(value, bool) else None),
    ("min_on_s", 3, _whole(0, 3600)),
    ("min_off_s", 3, _whole(0, 3600)),
)


class Config:
    """The values as attributes. `bad` names the unusable ones; `place` is (lat, lon), None unless both are there."""

    def __init__(self, data) -> None:
        """`data` is what json.load gave; anything but a dictionary counts as empty and bad."""
        self.bad: list = []
        self.address, self.lat, self.lon, self.report_s = self._take(data, _NODE, "")
        lamp = self._take(data.get("lamp", {}) if isinstance(data, dict) else {}, _LAMP, "lamp.")
        self.on_below_deg, self.dim, self.utc_offset_min, self.summer_time, self.min_on_s, self.min_off_s = lamp
        self.place = None if self.lat is None or self.lon is None else (self.lat, self.lon)

    def _take(self, data, table, prefix) -> list:
        values = []
        if not isinstance(data, dict):
            self.bad.append(prefix or "config")
            data = {}
        for name, default, check in table:
            value = default
            if name in data:
                value = check(data[name])
                if value is None:
                    self.bad.append(prefix + name)
                    value = default
            values.append(value)
        return values
