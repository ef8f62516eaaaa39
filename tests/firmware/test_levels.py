"""Period statistics of noise: LAeq, LAmax and percentiles, gaps, and sums that 32-bit floats alone would spoil."""

from __future__ import annotations

import json
import math
import sys
import types
from typing import Any

import numpy as np
import pytest

from tests.support.micropython import FIRMWARE, run

SENSITIVITY = 123.0

MICROPYTHON = """
import json
from node.levels import Levels
levels = Levels(123.0)
for line in %r:
    kind, squares, fast = line
    if kind == "add":
        levels.add(squares, fast)
    elif kind == "reset":
        levels.reset()
out = [0] * 5
levels.summary(out)
print(json.dumps([out, levels.count, levels.missed]))
"""


def square(db: float) -> float:
    """The mean square of a block of that level."""
    return float(10 ** ((db - SENSITIVITY) / 10))


def on_micropython(*steps: tuple[str, list[float], list[float] | None]) -> tuple[list[float | None], int, int]:
    out, count, missed = json.loads(run(MICROPYTHON % (list(steps),)))
    return out, count, missed


class Single:
    """`array` of the chip's kind: "f" keeps 32 bits and gives 32-bit floats back, so that arithmetic stays in them."""

    @staticmethod
    def array(code: str, values: Any) -> Any:
        if code == "f":
            return np.array(list(values), dtype=np.float32)
        import array

        return array.array(code, values)


@pytest.fixture
def single() -> Any:
    """The module node.levels with 32-bit floats, on CPython with numpy."""
    fake_array = types.ModuleType("array")
    fake_array.array = Single.array  # type: ignore[attr-defined]
    fake_micropython = types.ModuleType("micropython")
    fake_micropython.const = lambda value: value  # type: ignore[attr-defined]
    saved = {name: sys.modules.get(name) for name in ("array", "micropython")}
    sys.modules.update(array=fake_array, micropython=fake_micropython)
    try:
        scope: dict[str, Any] = {}
        exec(compile((FIRMWARE / "node" / "levels.py").read_text(), "levels.py", "exec"), scope)
    finally:
        for name, module in saved.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module
    return scope["Levels"]


def summary(levels: Any) -> list[Any]:
    out: list[Any] = [0] * 7
    levels.summary(out, 1)
    assert out[0] == out[6] == 0
    return out[1:6]


# --- on MicroPython -------------------------------------------------------------------------------------------------


def test_nothing_came() -> None:
    assert on_micropython() == ([None] * 5, 0, 0)
    assert on_micropython(("add", [square(60)] * 8, None), ("reset", [], None)) == ([None] * 5, 0, 0)


def test_a_steady_level() -> None:
    out, count, missed = on_micropython(("add", [square(61.3)] * 40, None))
    assert out == [pytest.approx(61.3, abs=0.01), pytest.approx(61.3, abs=0.01)] + [pytest.approx(61.3, abs=0.25)] * 3
    assert (count, missed) == (40, 0)


def test_percentiles_are_what_is_exceeded_in_that_share_of_time() -> None:
    # 1000 blocks, evenly from 40 to 80 dB, in an order that mixes them
    ladder = [40 + 40 * (i * 379 % 1000) / 1000 for i in range(1000)]
    squares = [square(db) for db in ladder]
    fast = [value for s in squares for value in (s, s)]
    out, _, _ = on_micropython(("add", squares, fast))
    assert out[1:] == [pytest.approx(expected, abs=0.1) for expected in (79.96, 76, 60, 44)]
    energy = 10 * math.log10(sum(10 ** (db / 10) for db in ladder) / 1000)
    assert out[0] == pytest.approx(energy, abs=0.01)


def test_fast_of_a_source_without_its_own() -> None:
    """A single loud block raises the Fast level by 1 - 1/e of it and then decays by 4.34 dB a block."""
    quiet, loud = [square(40)] * 80, [square(80)]
    out, _, _ = on_micropython(("add", quiet + loud + quiet, None))
    assert out[1] == pytest.approx(80 + 10 * math.log10(1 - math.exp(-1)), abs=0.01)
    assert out[3] == pytest.approx(40, abs=0.25)


def test_the_maximum_is_the_sources_own_where_it_has_one() -> None:
    out, _, _ = on_micropython(("add", [square(60)], [square(60), square(71.5)]))
    assert out[1] == pytest.approx(71.5, abs=0.01)


def test_the_next_period_begins_empty_but_fast_goes_on() -> None:
    out, count, _ = on_micropython(
        ("add", [square(80)] * 20, None), ("reset", [], None), ("add", [square(40)] * 2, None)
    )
    assert count == 2
    assert out[0] == pytest.approx(40, abs=0.01)
    assert out[1] == pytest.approx(80 + 10 * math.log10(math.exp(-1)), abs=0.05)


@pytest.mark.parametrize("bad", ["0.0", "-1.0", "float('nan')", "float('inf')", "17.0"])
def test_what_is_no_sound_is_missing(bad: str) -> None:
    code = MICROPYTHON.replace("for line in %r:", f"levels.add([{bad}, {square(50)}, {bad}])\nfor line in []:")
    out, count, missed = json.loads(run(code))
    assert (count, missed) == (1, 2)
    assert out[0] == pytest.approx(50, abs=0.01)


def test_levels_beyond_the_histogram() -> None:
    out, count, _ = on_micropython(("add", [square(5)] * 8, None))
    assert count == 8
    assert out[0] == pytest.approx(5, abs=0.01)
    assert out[2:] == [pytest.approx(20, abs=0.25)] * 3
    out, _, _ = on_micropython(("add", [square(133)] * 8, None))
    assert out[1] == pytest.approx(133, abs=0.01)
    assert out[2:] == [pytest.approx(130, abs=0.25)] * 3


def test_listening_counts_what_a_source_has_missed() -> None:
    code = """
import asyncio
from node.levels import Levels
class Source:
    sensitivity_db = 123.0
    missed = 3
    fast = None
    async def levels(self):
        return [1e-6, 2e-6]
class Plain:
    async def levels(self):
        return [1e-6]
async def main():
    source = Source()
    levels = Levels(source.sensitivity_db)
    await levels.listen(source)
    print(levels.count, levels.missed)
    levels.reset()
    source.missed = 5
    await levels.listen(source)
    await levels.listen(source)
    print(levels.count, levels.missed)
    await Levels(123.0).listen(Plain())
asyncio.run(main())
"""
    assert run(code).split() == ["2", "3", "4", "2"]


def test_adding_allocates_nothing_that_stays() -> None:
    code = """
import gc
from array import array
from node.levels import Levels
levels = Levels(123.0)
squares, fast = array("f", [1e-6] * 8), array("f", [1e-6] * 16)
levels.add(squares, fast)
gc.collect(); before = gc.mem_alloc()
for _ in range(300):
    levels.add(squares, fast)
levels.reset()
gc.collect(); print(gc.mem_alloc() - before)
"""
    assert abs(int(run(code))) <= 64


# --- with 32-bit floats ---------------------------------------------------------------------------------------------


def test_a_loud_block_does_not_swallow_the_quiet_ones(single: Any) -> None:
    """One block of 115 dB and then 20,000 of 36 dB, each less than half of the last digit of the sum."""
    levels = single(np.float32(SENSITIVITY))
    loud, quiet = np.float32(square(115)), np.float32(square(36))
    assert loud + quiet == loud, "the case must be one in which a plain sum fails"
    n = 20_000
    levels.add(np.array([loud], dtype=np.float32))
    levels.add(np.full(n, quiet, dtype=np.float32))
    total = float(levels._acc[0]) - float(levels._acc[1])
    assert total - float(loud) == pytest.approx(n * float(quiet), rel=0.02)


def test_a_period_of_five_minutes_is_right_to_a_thousandth_of_a_decibel(single: Any) -> None:
    random = np.random.default_rng(3)
    db = random.normal(58, 9, 2400).clip(25, 118)
    squares = (10 ** ((db - SENSITIVITY) / 10)).astype(np.float32)
    levels = single(np.float32(SENSITIVITY))
    levels.add(squares)
    exact = SENSITIVITY + 10 * math.log10(float(squares.astype(np.float64).mean()))
    assert float(summary(levels)[0]) == pytest.approx(exact, abs=0.001)


def test_a_bin_that_is_full_stays_full(single: Any) -> None:
    levels = single(SENSITIVITY)
    levels.add(np.full(70_000, square(50), dtype=np.float32))
    assert summary(levels) == [pytest.approx(50, abs=0.25)] * 5
    assert levels.count == 70_000
