"""Reads the lamp's programs from the configuration; what makes no sense there becomes full light for every night."""

_NAMES = ("mo", "tu", "we", "th", "fr", "sa", "su")


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
        for i in range((ends[-1] - ends[0]) % 7 + 1):
            bits |= 1 << (ends[0] + i) % 7
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
        made = 127, 101, 1231, (), 0
        try:
            steps = []
            for clock, level in entry["dim"]:
                after = (_pair(clock, ":", 0, 23, 59, 60) + 720) % 1440 * 60
                steps.append((after, _whole(level, 0, 100)))
            made = (
                _days(entry.get("days", "mo-su")),
                _pair(entry.get("from", "1-1"), "-", 1, 12, 31, 100),
                _pair(entry.get("to", "12-31"), "-", 1, 12, 31, 100),
                sorted(steps),
                _whole(entry.get("fade_s", 0), 0, 3600),
            )
        except (AttributeError, KeyError, TypeError, ValueError):
            bad += 1
        found.append(made)
    return found, bad
