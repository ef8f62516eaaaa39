"""The node's configuration: read from its JSON, each bad value falling back to its default and being counted."""

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

    def __init__(self, data) -> None:
        """`data` is what the JSON says; anything but a dictionary counts as empty and bad."""
        self.bad: list = []
        data = self._take(data, _NODE, "")
        lamp = self._take(data.get("lamp", {}), _LAMP, "lamp.")
        self.programs, bad = parse(lamp)
        self.bad += ["lamp.programs"] * bad
        self.place = None if self.lat is None or self.lon is None else (self.lat, self.lon)

    def _take(self, data, table, prefix: str) -> dict:
        if not isinstance(data, dict):
            self.bad.append(prefix or "config")
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
                    self.bad.append(prefix + name)
            setattr(self, name, value)
        return data
