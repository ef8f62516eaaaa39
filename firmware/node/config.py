"""The node's configuration: read from its JSON, each bad value falling back to its default and being counted."""

# Loaded when there is something to read, and let go of again: what stays is a Config, which has no code.

from micropython import const

from node.schedule import parse

_NOBODY = const(65534)  # the address of a node that was given none

# (name, default, lowest, highest): whole numbers, unless a bound is a float; a truth value where there is no bound.
_NODE = (
    ("address", _NOBODY, 1, _NOBODY),
    ("lat", None, -90.0, 90),
    ("lon", None, -180.0, 180),
    ("report_s", 300, 1, 86400),
    ("trial_s", 600, 60, 86400),
)
_LAMP = (
    ("on_below_deg", -0.833, -18.0, 18),
    ("utc_offset_min", 0, -840, 840),
    ("summer_time", False, None, None),
    ("min_on_s", 3, 0, 3600),
    ("min_off_s", 3, 0, 3600),
    ("lamp_w", 0, 0.0, 2000),
)


class Config:
    """The values as attributes. `bad` names the unusable ones; `place` is (lat, lon), None unless both are there."""

    address: int
    lat: "float | None"
    lon: "float | None"
    report_s: int
    trial_s: int  # by then a configuration on trial has to be confirmed
    on_below_deg: float
    utc_offset_min: int
    summer_time: bool
    min_on_s: int
    min_off_s: int
    lamp_w: float
    bad: list
    programs: list
    place: "tuple | None"


def read(data) -> Config:
    """What the JSON says; anything but a dictionary counts as empty and bad."""
    config = Config()
    config.bad = []
    data = _take(config, data, _NODE, "")
    lamp = _take(config, data.get("lamp", {}), _LAMP, "lamp.")
    config.programs, bad = parse(lamp)
    config.bad += ["lamp.programs"] * bad
    config.place = None if config.lat is None or config.lon is None else (config.lat, config.lon)
    return config


def _take(config: Config, data, table, prefix: str) -> dict:
    if not isinstance(data, dict):
        config.bad.append(prefix or "config")
        data = {}
    for name, value, low, high in table:
        if name in data:
            given = data[name]
            good = truth = isinstance(given, bool)
            if low is not None:
                number = isinstance(given, (int, float) if isinstance(low, float) else int)
                good = number and not truth and low <= given <= high
            if good:
                value = given
            else:
                config.bad.append(prefix + name)
        setattr(config, name, value)
    return data
