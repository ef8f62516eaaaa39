"""What the lamp should do: sun, light, programs and orders in, a level out. Lit when in doubt at night."""

# The rule. It is night when the sun stands below `on_below_deg`; where the clock is not set or the place not known, it is
# night unless it has been as bright as day (400 lx, until there are less than 100) for five minutes. By day the lamp is
# out, unless there have been less than 25 lx for five minutes, until there are 100. At night it is lit at 100 % unless
#  - an order says otherwise that has begun and has not expired, by uptime or by wall clock, and the uptime has not gone
#    back since; or
#  - a program of a sound schedule says otherwise, the clock is set, and it was set by the host in the last ten days.
# In safe mode neither counts. A lamp that has to be lit at night does not wait for its minimum time off; anything else
# waits for both. What fails on the way leaves the lamp lit (node.lighting), and so does a board without current (relay).
#
# A program is (days, from, to, profile, fade): a bit for each day of the week, Monday the lowest; dates as 100 * month +
# day, both included, where the range may pass the turn of the year; ((s after noon, level in %), ...) in that order; the
# seconds that each change takes. A night belongs to the evening that it began in, so a day here is from noon to noon.
# Until the first change of a night the lamp gives 100 %. The last program of those that hold for a night counts. Where a
# clock change brings an hour twice, its changes come twice.
from micropython import const

from node.sun import elevation

AUTO = 0
ON = 1
OFF = 2
DIM = 3

_DAY_MLX = const(400000)  # about sunrise; street lamps give less than 50 lx
_NIGHT_MLX = const(100000)
_SHADE = const(4)  # where the sun tells the day, a light sensor may stand in the shade
_CELL_S = const(300)
_DAY_S = const(86400)
_HOUR = const(3600)
_STALE_S = const(864000)  # a link that has been away for so long leaves doubt about the programs
_NEVER = const(0x3FFFFFFF)


def date(day: int) -> int:
    """100 * month + day of a number of days since 2024-01-01; right until February 2100."""
    day = (day + 1401) % 1461  # since a first of March that came after a 29th of February
    day -= min(day // 365, 3) * 365
    month = (5 * day + 2) // 153
    return (month + 2) % 12 * 100 + day - (153 * month + 2) // 5 + 101


def summer(time: int) -> bool:
    """Whether European summer time holds (Directive 2000/84/EC: last Sundays of March and October, 01:00 UTC)."""
    day = (time - _HOUR) // _DAY_S
    return 325 <= date(day) - (day + 1) % 7 < 1025  # the month, and the date of the Sunday before


def scheduled(programs, local: int):
    """(level, whether it is changing) at a moment of local time, in s since 2024-01-01 00:00."""
    local -= 43200
    day = local // _DAY_S
    local %= _DAY_S
    now = date(day)
    level = before = 100
    profile = ()
    fade = passed = 0
    for days, first, last, steps, slow in programs:
        if days >> day % 7 & 1 and (now >= first) + (now <= last) + (first > last) == 2:
            profile = steps
            fade = slow
    for start, value in profile:
        if start > local:
            break
        passed = local - start
        before = level
        level = value
    if level != before and passed < fade:
        return before + (level - before) * passed // fade, True
    return level, False


class Policy:
    """Decides the lamp's level, every few seconds. `level` is what it should give now, 0 for off; it starts lit.

    `mode` and `reason` are those of the order in force. For others to set: `config`; `safe`, for safe mode; `set_at`,
    the uptime when the host last gave the time.
    """

    def __init__(self, config) -> None:
        self.config = config
        self.mode = AUTO
        self.level = self._from = 100
        self.steady = True  # no fade is under way
        self.safe = False
        self.set_at = self._up = self._fade = self._fade_at = 0
        self._next = None  # the order that is to begin
        self._day = None  # what the light says, None for nothing
        self._since = -1  # uptime since when it says otherwise
        self._changed = -_HOUR

    def override(self, mode: int, level: int, ttl: int, fade: int, up: int, reason: int = 0, start: int = 0) -> None:
        """Take an order at uptime `up`: AUTO, ON, OFF or DIM to `level`, for `ttl` s, reached within `fade` s.

        It begins in `start` s and then takes the place of the one before.
        """
        self._next = up + start, mode, 100 if mode == ON else 0 if mode == OFF else level, ttl, fade, reason

    def dark(self, up: int, time, millilux) -> bool:
        """Whether it is night, or may be."""
        config = self.config
        day = None
        if time is not None and config.place:
            day = elevation(time, config.place[0], config.place[1]) >= config.on_below_deg
        if millilux is None or millilux != millilux:
            self._day = bright = None
        else:
            if day is not None:
                millilux *= _SHADE
            bright = millilux >= _DAY_MLX or (millilux >= _NIGHT_MLX and self._day)
        if bright != self._day:
            if self._since < 0:
                self._since = up
            # Where the light alone tells the day, it need not be dark for long.
            if up - self._since >= _CELL_S or not (bright or day):
                self._day = bright
        if bright == self._day:
            self._since = -1
        return not (self._day if day is None else day and self._day is not False)

    def decide(self, up: int, time, millilux) -> int:
        """The level in % at uptime `up` (s) and wall clock `time` (None: not set), light in mlx (None: not known)."""
        config = self.config
        if up < self._up:  # nobody knows how much time has passed
            self._next = None
            self._until = 0
        self._up = up
        order = self._next
        if order and up >= order[0]:
            self._next = None
            self._fade_at, self.mode, self._level, ttl, self._fade, self.reason = order
            self._from = self.level
            self._until = self._fade_at + ttl
            self._end = time - up + self._until if time else _NEVER
        if self.mode and (self.safe or up >= self._until or (time or 0) >= self._end):
            self.mode = AUTO
            self._fade = 0
        dark = self.dark(up, time, millilux)
        level = 100 if dark else 0
        moving = False
        if self.mode:
            level = self._level
        elif dark and time is not None and not self.safe and up - self.set_at < _STALE_S:
            level, moving = scheduled(
                config.programs, time + config.utc_offset_min * 60 + _HOUR * (config.summer_time and summer(time))
            )
        passed = up - self._fade_at
        if 0 <= passed < self._fade:
            moving = True
            level = max(1 if level else 0, self._from + (level - self._from) * passed // self._fade)
        self.steady = not moving
        if (level > 0) != (self.level > 0):
            held = up - self._changed
            if 0 <= held < (config.min_off_s if level else config.min_on_s) and not (level and dark):
                return self.level
            self._changed = up
        self.level = level
        return level
