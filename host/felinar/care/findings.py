"""What a check finds: how bad it is, one sentence, and what to do about it."""

from __future__ import annotations

from typing import Literal

import msgspec

Level = Literal["ok", "note", "warning", "wrong"]
"""`note`: not there, and it need not be; `warning`: it works, but not as well as it could; `wrong`: something can't work."""


class Finding(msgspec.Struct, frozen=True):
    """One finding of `felinar doctor`. `check` is what was looked at."""

    check: str
    level: Level
    text: str
    remedy: str = ""


def well(findings: list[Finding]) -> bool:
    """Whether nothing is wrong; warnings don't count."""
    return all(finding.level != "wrong" for finding in findings)
