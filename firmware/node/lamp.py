"""What the lamp should do: sun, schedule and override in, a level out. Lit when in doubt at night."""

from micropython import const

from node.sun import elevation

AUTO = 0
ON = 1
OFF = 2
DIM = 3

# Photocell, used only while nobody has set the clock: it takes much light for a long time to call it day.
_DAY_MLX = const(400000)  # about sunrise; street lamps give less than 50 lx
_NIGHT_MLX = const(100000)
_DAY_S = const(300)
_MARCH = const(2)
_OCTOBER = const(9)
_HOUR = const(3600)


def _sunday(year: int, month: int) -> int:
    """Days from 2024-01-01 to the last Sunday of March (2) or October (9); both months have 31 days."""
    last = (year - 2024) * 365 + (year - 2021) // 4 + (89 if month == _MARCH else 303) + (year % 4 == 0)
    return last - (last + 1) % 7  # 2024-01-01 was a Monday: day 6 was a Sunday


def summer(time: int) -> bool:
    """Whether European summer time holds (Directive 2000/84/EC: last Sundays of March and October, 01:00 UTC)."""
    year = 2024 + (time // 86400 * 4 + 2) // 1461
    return _sunday(year, _MARCH) * 86400 + _HOUR <= time < _sunday(year, _OCTOBER) * 86400 + _HOUR


def scheduled(profile, minute: int) -> int:
    """Level of a dimming profile at a minute of the local day; 100 % without a profile."""
    level = profile[-1][1] if profile else 100
    for start, value in profile or ():
        if start > minute:
            break
        level = value
    return level


class Policy:
    """Decides the lamp's level, every few seconds. `level` is what it should give now, 0 for off; it starts lit."""

    def __init__(self, config) -> None:
        self._config = config
        self._until = 0
        self._bright = -1  # uptime since when it has been as bright as day
        self._day = False
        self._changed = -_HOUR
        self._from = 100
        self._fade = 0
        self._fade_at = 0
        self._wanted = 100
        self.mode = AUTO
        self._level = 100  # of the override
        self.level = 100
        self.steady = True  # no fade is under way

    def override(self, mode: int, level: int, ttl: int, fade: int, up: int) -> None:
        """Take a command: AUTO, ON, OFF or DIM to `level` for `ttl` s from the uptime `up`, reached within `fade` s."""
        self.mode = mode
        self._level = 100 if mode == ON else 0 if mode == OFF else level
        self._until = up + ttl
        self._fade = fade
        self._fade_at = up
        self._from = self.level

    def dark(self, up: int, time, millilux) -> bool:
        """Whether it is night, or may be: by the sun where clock and place are known, else by the light, else yes."""
        config = self._config
        if time is not None and config.place:
            return elevation(time, config.place[0], config.place[1]) < config.on_below_deg
        if millilux is None or millilux < _NIGHT_MLX:
            self._bright = -1
            self._day = False
        elif millilux < _DAY_MLX:
            self._bright = -1
        else:
            if self._bright < 0:
                self._bright = up
            self._day = self._day or up - self._bright >= _DAY_S
        return not self._day

    def decide(self, up: int, time, millilux) -> int:
        """The level in % at uptime `up` (s) and wall clock `time` (None: not set), light in mlx (None: not known)."""
        if self.mode != AUTO and up >= self._until:
            self.mode = AUTO
            self._fade = 0
        dark = self.dark(up, time, millilux)
        if self.mode != AUTO:
            wanted = self._level
        elif not dark:
            wanted = 0
        elif time is None:
            wanted = 100
        else:
            config = self._config
            minute = time // 60 + config.utc_offset_min + (60 if config.summer_time and summer(time) else 0)
            wanted = scheduled(config.dim, minute % 1440)
        level = self._fading(wanted, up)
        if (level > 0) != (self.level > 0):
            held = up - self._changed
            if level:
                # A lamp that has to be lit for safety does not wait for its minimum time off.
                if held < self._config.min_off_s and not dark:
                    return self.level
            elif held < self._config.min_on_s:
                return self.level
            self._changed = up
        self.level = level
        return level

    def _fading(self, wanted: int, up: int) -> int:
        passed = up - self._fade_at
        self.steady = self._fade <= passed
        if self.steady:
            self._fade = 0
            return wanted
        level = self._from + (wanted - self._from) * passed // self._fade
        return max(level, 1) if wanted or level else level
