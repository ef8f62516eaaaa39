"""What the lamp's programs say for a moment of local time, and the reading of them from the configuration."""

# A program is (days, from, to, profile, fade): a bit for each day of the week, Monday the lowest; dates as 100 * month +
# day, both included, where the range may pass the turn of the year; ((s after noon, level in %), ...) in that order;
# seconds that each change takes. A night belongs to the evening that it began in, so a day here is from noon to noon.
# Until the first change of a night the lamp gives 100 %. The last program of those that hold for a night counts.
# What is read from the configuration and makes no sense counts as a program of full light for every night.
from micropython import const

_DAY = const(86400)
_NOON = const(43200)
_NAMES = ("mo", "tu", "we", "th", "fr", "sa", "su")
_LIT = (127, 101, 1231, (), 0)


def date(day: int) -> int:
    """100 * month + day of a number of days since 2024-01-01; right until February 2100."""
    day = (day + 1401) % 1461  # since a first of March before which there was a 29th of February
    day -= min(day // 365, 3) * 365
    month = (5 * day + 2) // 153
    return (month + 2) % 12 * 100 + day - (153 * month + 2) // 5 + 101


def summer(time: int) -> bool:
    """Whether European summer time holds (Directive 2000/84/EC: last Sundays of March and October, 01:00 UTC)."""
    day = (time - 3600) // _DAY
    return 325 <= date(day) - (day + 1) % 7 < 1025  # the month, and the date of the Sunday before


def scheduled(programs, local: int):
    """(level, whether it is changing) at a moment of local time, in s since 2024-01-01 00:00."""
    local -= _NOON
    day = local // _DAY
    local %= _DAY
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


def program(days: int, first: int, last: int, profile, fade: int = 0) -> tuple:
    """A program of (minute of the day, level) pairs in any order."""
    return days, first, last, tuple(sorted([((m + 720) % 1440 * 60, level) for m, level in profile])), fade


def _whole(value, low: int, high: int) -> int:
    if isinstance(value, (bool, float)) or not low <= int(value) <= high:
        raise ValueError
    return int(value)


def _pair(text: str, mark: str, low: int, high: int, most: int, times: int) -> int:
    a, b = text.split(mark)
    return _whole(a, low, high) * times + _whole(b, low, most)


def _days(text: str) -> int:
    bits = 0
    for part in text.split(","):
        ends = [_NAMES.index(name) for name in part.split("-")]
        day = ends[0]
        while True:
            bits |= 1 << day
            if day == ends[-1]:
                break
            day = (day + 1) % 7
    return bits


def parse(lamp: dict) -> tuple:
    """(programs, how many of them were bad) of the configuration's object `lamp`, whatever is in it.

    `programs` there is a list of objects with `dim` ([["23:00", 60], ...]) and, where they are not for every night,
    `days` ("mo-th,su"), `from` and `to` ("12-24"), and `fade_s`. A `dim` of the lamp itself is the first of them.
    """
    entries = lamp.get("programs", [])
    if not isinstance(entries, list):
        entries = [entries]
    found = []
    bad = 0
    for entry in [lamp] * ("dim" in lamp) + entries:
        made = _LIT
        try:
            made = program(
                _days(entry.get("days", "mo-su")),
                _pair(entry.get("from", "1-1"), "-", 1, 12, 31, 100),
                _pair(entry.get("to", "12-31"), "-", 1, 12, 31, 100),
                [(_pair(clock, ":", 0, 23, 59, 60), _whole(level, 0, 100)) for clock, level in entry["dim"]],
                _whole(entry.get("fade_s", 0), 0, 3600),
            )
        except (AttributeError, KeyError, TypeError, ValueError):
            bad += 1
        found.append(made)
    return tuple(found), bad
