"""Fuzzing: the seeds hold, a bounded search by coverage finds nothing, and both would tell if there were something."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from felinar_fuzz import line, search, targets
from felinar_fuzz.take import Broken, require
from felinar_wire import WireError, serial

from tests.protocol import calls
from tests.support.micropython import ROOT

RUNS = 2000
"""Of the cheapest target; a few seconds all together."""

needs_atheris = pytest.mark.skipif(
    not search.available(),
    reason="atheris has wheels for CPython 3.11 to 3.14 on Linux x86-64 only; there this runs",
)


def fuzz(*arguments: str, folder: Path, wire: Path = ROOT / "protocol") -> subprocess.CompletedProcess[str]:
    """The command line as a user calls it, because atheris ends the process that it runs in."""
    path = os.pathsep.join(map(str, (wire, ROOT / "host", ROOT / "tools")))
    return subprocess.run(
        [sys.executable, "-m", "felinar_fuzz", "--folder", str(folder), "--json", *arguments],
        capture_output=True,
        text=True,
        timeout=200,
        env={**os.environ, "PYTHONPATH": path},
    )


def test_atheris_is_here_where_it_can_be() -> None:
    """So that the search is never skipped unnoticed."""
    if sys.platform == "linux" and os.uname().machine == "x86_64" and (3, 11) <= sys.version_info < (3, 15):
        assert search.available(), "pip install '.[dev]'"


@pytest.mark.parametrize("name", targets.TARGETS)
def test_every_seed_holds(name: str) -> None:
    target = targets.TARGETS[name]
    seeds = targets.seeds(target)
    assert seeds
    assert len(seeds) <= 300
    for seed in seeds:
        target.check(seed)
    target.check(b"")


@pytest.mark.parametrize(
    ("call", "reasons"),
    [
        ("deframe", {"cobs", "short", "crc", "long"}),
        ("unpack", {"short", "long", "version"}),
        ("unkeep", {"short", "range", "coding"}),
        ("decode", {"kind", "short", "trailing", "range", "coding"}),
        ("decode appended", {"kind", "short", "coding"}),
        ("unbatch", {"count", "short", "trailing", "range", "coding"}),
        ("uncore", {"short", "trailing"}),
    ],
)
def test_the_vectors_have_each_reason_that_a_decoder_documents(call: str, reasons: set[str]) -> None:
    """test_interpreters.py checks the vectors themselves, under both interpreters."""
    found = set()
    for vector in json.loads((ROOT / "tests" / "vectors" / "fuzz.json").read_text())["vectors"]:
        if vector["call"] == call:
            found |= set(vector["result"][1]) if call == "deframe" else {vector.get("refused", "understood")}
    assert found == reasons | ({"understood"} if call != "deframe" else set())


@pytest.mark.parametrize("name", [name for name, target in targets.TARGETS.items() if target.question])
def test_an_input_makes_the_call_that_it_says(name: str) -> None:
    """The plain call of an input, which goes into the vectors, ends in a result or in a reason, under calls.py."""
    target = targets.TARGETS[name]
    assert target.question
    for seed in targets.seeds(target)[::7]:
        question = target.question(seed)
        assert question is None or calls.call(*question).keys() <= {"result", "refused"}


@needs_atheris
@pytest.mark.timeout(200)
def test_a_bounded_search_finds_nothing(tmp_path: Path) -> None:
    done = fuzz("--runs", str(RUNS), "--seed", "1", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert [result["target"] for result in results] == list(targets.TARGETS)
    for result in results:
        cost = targets.TARGETS[result["target"]].cost
        assert result["runs"] >= max(RUNS // cost, 1), result
        assert result["coverage"] > 10, f"the code is not instrumented: {result}"
        assert result["found"] == []


@needs_atheris
def test_a_search_is_the_same_each_time(tmp_path: Path) -> None:
    first, second = (
        json.loads(fuzz("--runs", "3000", "--seed", "7", "--target", "frame", folder=tmp_path / name).stdout)
        for name in ("a", "b")
    )
    assert {**first, "seconds": 0} == {**second, "seconds": 0}
    assert sorted(path.name for path in (tmp_path / "a/corpus/frame").iterdir()) == sorted(
        path.name for path in (tmp_path / "b/corpus/frame").iterdir()
    )


@needs_atheris
def test_a_broken_property_is_found_made_small_and_replayed(tmp_path: Path) -> None:
    """A wire whose frames may lack their last header byte: found, and told in the fewest bytes that show it."""
    shutil.copytree(ROOT / "protocol" / "felinar_wire", tmp_path / "spoilt" / "felinar_wire")
    source = tmp_path / "spoilt" / "felinar_wire" / "frame.py"
    spoilt = source.read_text().replace("if len(data) < 5:", "if len(data) < 4:")
    assert spoilt != source.read_text()
    source.write_text(spoilt)
    done = fuzz("--runs", "20000", "--seed", "1", "--target", "frame", folder=tmp_path, wire=tmp_path / "spoilt")
    assert done.returncode == 1, done.stdout + done.stderr
    (found,) = json.loads(done.stdout)["found"]
    assert found["input"] == "00" * 5
    assert found["fault"].startswith("IndexError")
    assert found["replay"] == "python -m felinar_fuzz --target frame --replay 0000000000"
    again = fuzz(*found["replay"].split()[3:], folder=tmp_path, wire=tmp_path / "spoilt")
    assert (again.returncode, json.loads(again.stdout)["fault"]) == (1, found["fault"])
    assert fuzz(*found["replay"].split()[3:], folder=tmp_path).returncode == 0, "the wire as it is has no such fault"


def test_what_fails_is_made_small() -> None:
    tries = []

    def fails(data: bytes) -> bool:
        tries.append(data)
        return data.count(b"\x07") >= 2 and len(data) > 3

    assert search.smallest(bytes(range(256)) * 3, fails) == b"\x07\0\0\x07"
    assert len(tries) < 4000
    tries.clear()
    search.smallest(bytes(range(256)) * 20, lambda data: fails(data) or True, tries=50)
    assert len(tries) <= 50


def test_a_target_tells_what_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each kind of fault: an exception of another type, a reason that is not documented, a property."""
    target = targets.TARGETS["deframer"]
    seed = line.deframer_input(20, serial.encode(b"felinar"))
    assert search.fault(target, seed) == ""
    for error, told in (
        (IndexError("bytearray index out of range"), "IndexError: bytearray index out of range"),
        (WireError("odd"), "odd"),
    ):

        def broken(coded: bytes, error: Exception = error) -> bytes:
            raise error

        monkeypatch.setattr(serial, "decode", broken)
        assert told in search.fault(target, seed)
    monkeypatch.undo()
    monkeypatch.setattr(serial.Deframer, "feed", lambda self, chunk: [])
    assert re.match(r"felinar_fuzz\.take\.Broken: ", search.fault(target, seed))
    with pytest.raises(Broken, match="so"):
        require(False, "so")


def test_replay(tmp_path: Path) -> None:
    good = targets.seeds(targets.TARGETS["codec"])[5]
    done = fuzz("--target", "codec", "--replay", good.hex(), folder=tmp_path)
    assert (done.returncode, json.loads(done.stdout)["fault"]) == (0, None)
    assert json.loads(done.stdout)["call"][0] == "decode"
    for wrong, said in (
        (("--replay", "00"), "needs the --target"),
        (("--target", "frame", "--replay", "0"), "takes hex digits"),
        (("--runs", "0"), "above 0"),
        (("--target", "nothing"), "invalid choice"),
    ):
        done = fuzz(*wrong, folder=tmp_path)
        assert done.returncode == 2
        assert said in done.stderr
