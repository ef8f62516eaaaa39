"""Time and heap that one report costs: encode and seal, open and decode, under CPython and MicroPython."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from felinar_sim.process import interpreter
from felinar_wire import codec

from felinar_bench import corpus
from felinar_bench.figures import Figure

SCRIPT = Path(__file__).with_name("scripts") / "wire_speed_run.py"
PROTOCOL = Path(codec.__file__).parents[1]
TARGETS = {"cpython": 25, "micropython": 45}
REPORTS = 96


def measure(command: list[str]) -> Any:
    """What the script printed when the command ran it on the corpus's first reports."""
    done = subprocess.run(
        [*command, str(SCRIPT)],
        input=json.dumps(corpus.nodes()[0][: REPORTS + 1]) + "\n",
        env={**os.environ, "MICROPYPATH": f"{PROTOCOL}:.frozen", "PYTHONPATH": str(PROTOCOL)},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def figures() -> Iterator[Figure]:
    heap: dict[str, list[int]] = {}
    for name, command in (("cpython", [sys.executable]), ("micropython", [interpreter(), "-X", "heapsize=8M"])):
        found = measure(command)
        for form, suffix in (("differential", ""), ("whole", ".whole")):
            for what in ("seal", "open"):
                times = found[form][what]
                middle = statistics.median(times)
                yield Figure(
                    f"wire_speed.{what}.{name}{suffix}",
                    round(min(times), 2),
                    "us",
                    TARGETS[name],
                    note=f"{form}, best of {len(times)}; median {middle:.1f}",
                )
            if "heap" in found[form]:
                heap[suffix] = found[form]["heap"]
    for suffix, (sealing, opening) in heap.items():
        yield Figure(f"wire_speed.seal.heap{suffix}", sealing, "bytes", 4000)
        yield Figure(f"wire_speed.open.heap{suffix}", opening, "bytes", 4000)
