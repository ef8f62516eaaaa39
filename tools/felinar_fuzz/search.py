"""Runs searches: seeds in, one engine process for each target, and what it found made small."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from felinar_fuzz.targets import TARGETS, Target, seeds

MEMORY_MB = 512
"""An input that makes the process larger than this is one that was found."""
INPUT_S = 10
"""So is an input that takes longer than this."""


class FuzzError(Exception):
    """A search that cannot be made, in a sentence for the user."""


@dataclass(frozen=True, slots=True)
class Found:
    """An input that breaks a property."""

    data: bytes
    fault: str
    target: str

    @property
    def replay(self) -> str:
        return f"python -m felinar_fuzz --target {self.target} --replay {self.data.hex() or '-'}"


@dataclass(slots=True)
class Result:
    """What a search of one target came to."""

    target: str
    runs: int = 0
    seconds: float = 0.0
    seeds: int = 0
    corpus: int = 0
    coverage: int = 0
    features: int = 0
    found: list[Found] = field(default_factory=list)


def available() -> bool:
    """Whether atheris can be imported here."""
    return importlib.util.find_spec("atheris") is not None


def fault(target: Target, data: bytes) -> str:
    """What an input breaks: the exception's type and text, or "" when every property holds."""
    try:
        target.check(data)
    except Exception as error:
        return "".join(traceback.format_exception_only(error)).strip()
    return ""


def _site(target: Target, data: bytes) -> tuple[str, ...]:
    """Where an input fails: the exception's type and the lines that it went through; empty when it doesn't."""
    try:
        target.check(data)
    except Exception as error:
        return (type(error).__name__, *(f"{f.filename}:{f.lineno}" for f in traceback.extract_tb(error.__traceback__)))
    return ()


def smallest(data: bytes, fails: Callable[[bytes], bool], tries: int = 4000) -> bytes:
    """An input, as short and as full of zeros as it gets by leaving out and clearing pieces, that fails still."""
    size = len(data)
    while size and tries:
        at = 0
        shorter = False
        while at < len(data) and tries:
            for piece in (b"", bytes(len(data[at : at + size]))):
                one = data[:at] + piece + data[at + size :]
                tries -= 1
                if one != data and fails(one):
                    data = one
                    shorter = True
                    break
            else:
                at += size
                continue
            if piece:
                at += size
        if not shorter:
            size //= 2
    return data


def _write_seeds(folder: Path, inputs: list[bytes]) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    names = [folder / sha256(data).hexdigest()[:16] for data in inputs]
    for old in set(folder.iterdir()) - set(names):
        old.unlink()
    for name, data in zip(names, inputs, strict=True):
        name.write_bytes(data)
    return names


def _last(pattern: str, text: str) -> int:
    found = re.findall(pattern, text)
    return int(found[-1]) if found else 0


def search(name: str, folder: Path, *, seconds: float = 0.0, runs: int = 0, seed: int = 0) -> Result:
    """Search for so many seconds or runs; `seed` 0 draws one. The corpus is kept in `folder` for the next search.

    Raises FuzzError when atheris is missing or its process fails without an input to blame.
    """
    target = TARGETS[name]
    if not available():
        raise FuzzError("atheris is not installed; it comes as wheels for CPython 3.11 to 3.14 on Linux x86-64 only.")
    corpus, hits, log = folder / "corpus" / name, folder / "found" / name, folder / f"{name}.log"
    for path in (corpus, hits):
        path.mkdir(parents=True, exist_ok=True)
    inputs = seeds(target)
    listed = folder / f"{name}.seeds"
    # By their names in a list: a folder's own order differs from one file system to the next.
    listed.write_text(",".join(map(str, _write_seeds(folder / "seeds" / name, inputs))))
    before = set(hits.iterdir())
    command = [sys.executable, "-m", "felinar_fuzz.engine", name, f"-max_len={target.longest}", f"-seed={seed}"]
    command += [
        f"-timeout={INPUT_S}",
        f"-rss_limit_mb={MEMORY_MB}",
        f"-artifact_prefix={hits}/",
        "-print_final_stats=1",
    ]
    command += [f"-runs={max(1, runs)}"] if runs else [f"-max_total_time={max(1, round(seconds))}"]
    command += [f"-seed_inputs=@{listed}"] if inputs else []
    began = time.monotonic()
    with log.open("w") as out:
        ended = subprocess.run(
            [*command, str(corpus)], stdout=out, stderr=out, env={**os.environ, "PYTHONHASHSEED": "0"}
        )
    text = log.read_text(errors="replace")
    result = Result(
        name, _last(r"number_of_executed_units: (\d+)", text), time.monotonic() - began, len(inputs),
        len(list(corpus.iterdir())), _last(r"cov: (\d+)", text), _last(r"ft: (\d+)", text),
    )  # fmt: skip
    for path in sorted(set(hits.iterdir()) - before):
        result.found.append(_judge(name, target, path))
    if ended.returncode and not result.found:
        raise FuzzError(f"The search of {name} failed with status {ended.returncode}; see {log}.")
    return result


def _judge(name: str, target: Target, path: Path) -> Found:
    data = path.read_bytes()
    kind = path.name.split("-")[0]
    if kind != "crash":  # "timeout" or "oom": to run it again here would do it again here
        return Found(data, f"{kind}: more than {INPUT_S} s or {MEMORY_MB} MB", name)
    site = _site(target, data)
    if not site:
        return Found(data, "it failed in the search and does not when it is run alone", name)
    data = smallest(data, lambda one: _site(target, one) == site)
    return Found(data, fault(target, data), name)
