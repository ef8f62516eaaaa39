"""Ten thousand frames of each attack by the thief of a node: no report is let go that was not stored, no slot moves, no order acts."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from tests.protocol import air_adversary_run as adversary
from tests.protocol.security_adversary_run import Random
from tests.support.micropython import PROTOCOL, environment, interpreter

# What forged group frames may be refused for; those that were held fall with "tag" when their key comes out.
REFUSED = {"late", "early", "replay", "chain", "zone", "tag", "displaced", "undisclosed", "gap", "unconfirmed"}


def judge(name: str, result: dict[str, Any], count: int) -> None:
    assert result["sent"] >= count
    if name.startswith("stolen"):
        assert result["accepted"] == 0 and result["control"]
        assert sum(result["reasons"].values()) == result["sent"]
        assert set(result["reasons"]) <= {"tag", "counter"}
        return
    print(name, result)
    assert result["false"] == result["obeyed"] == result["lost"] == 0
    assert result["moved"] == 0, "it has sent in its own slot only"
    # Genuine acknowledgements are heeded, jammed reports are not taken for stored.
    assert result["flights"] > 0.8 * count / adversary.EACH / 30
    assert result["let_go"] > 0.25 * result["flights"]
    assert set(result["reasons"]) <= REFUSED, result["reasons"]
    # Every frame was refused under a reason or proven, but for those that wait for their key at the end.
    ended = sum(result["reasons"].values()) - result["taken_back"] + result["verified"]
    assert 0 <= result["sent"] + result["real"] - ended < 70
    hours = 1 + count / adversary.EACH / 360
    assert result["at_once"] <= (hours if name == "group_lamp" else 0)
    if name == "group_lamp":
        assert result["at_once"] >= 1 and result["taken_back"] in (result["at_once"], result["at_once"] - 1)


@pytest.mark.parametrize("name", adversary.NAMES)
def test_cpython(name: str) -> None:
    judge(name, adversary.attack(name, 12_000, Random(20261124)), 12_000)


def test_micropython() -> None:
    done = subprocess.run(
        [interpreter(), "-X", "heapsize=32M", adversary.__file__, "720", "20261124"],
        env=environment((PROTOCOL,)), capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads(done.stdout)
    assert set(results) == set(adversary.NAMES)
    for name, result in results.items():
        judge(name, result, 720)
