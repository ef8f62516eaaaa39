"""A hundred thousand frames of each attack: none accepted, every one counted under its reason."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from tests.protocol import security_adversary_run as adversary
from tests.support.micropython import PROTOCOL, environment, interpreter

RUN = adversary.__file__

# What each attack may be refused for. A flipped bit may turn a frame into any other; a forged group frame that was held
# falls when its key comes out ("tag"), unless another took its place ("displaced").
REASONS = {
    "replayed": {"replay", "old"},
    "reordered": {"old"},
    "bit_flipped": {"tag", "address", "version", "replay", "old", "short", "kind"},
    "truncated": {"short", "tag"},
    "cross_node": {"address", "tag"},
    "cross_direction": {"tag"},
    "old_session": {"tag"},
    "previous_boot": {"tag"},
    "forged_group": {"zone", "displaced", "tag", "replay"},
    "forged_acknowledgement": {"displaced", "tag", "replay"},
    "forged_beacon": {"early", "late", "chain", "displaced", "tag", "replay"},
    "late_disclosed": {"late", "clock"},
}


def judge(name: str, result: dict[str, Any], sent: int) -> None:
    assert result["sent"] == sent
    assert result["accepted"] == 0
    # Each frame sent is in exactly one count; besides them only genuine ones that a flood displaced.
    assert sum(result["reasons"].values()) == sent + result["lost"], result
    assert set(result["reasons"]) <= REASONS[name], result["reasons"]
    if name == "forged_group":
        # The thief of a zone key makes lamps light up for less than a minute, once an hour.
        assert 1 <= result["at_once"] <= result["hours"]
        assert result["taken_back"] == result["at_once"]
    else:
        assert not result.get("at_once")
    if name == "forged_beacon":
        assert result["next"] == 0
    if name in ("forged_group", "late_disclosed"):
        assert result["lost"] == 0
        assert result["genuine"] > sent // 20


@pytest.mark.parametrize("name", list(REASONS))
def test_cpython(name: str) -> None:
    judge(name, getattr(adversary, name)(100_000, adversary.Random(20261124)), 100_000)


def test_micropython() -> None:
    done = subprocess.run(
        [interpreter(), "-X", "heapsize=32M", RUN, "2000", "20261124"],
        env=environment((PROTOCOL,)),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads(done.stdout)
    assert set(results) == set(REASONS)
    for name, result in results.items():
        judge(name, result, 2000)
