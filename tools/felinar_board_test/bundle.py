"""The folder that is mounted on a board: the wire, drivers and board services as a node has them, and the tests' own modules."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

from felinar_build import app, modules
from felinar_build.fold import fold_file

from felinar_board_test.errors import BoardTestError

ROOT = Path(__file__).resolve().parents[2]
TESTS = ROOT / "tests" / "protocol"
OURS = (
    TESTS / "calls.py",
    TESTS / "air_calls.py",
    TESTS / "vectors.py",
    TESTS / "security_vectors_run.py",
    TESTS / "security_standards_run.py",
    ROOT / "host" / "felinar" / "wire_batch.py",
    Path(__file__).with_name("on_board") / "agent.py",
    Path(__file__).with_name("on_board") / "driver_check.py",
)
"""Modules of the tests. They keep their assertions, which a node's modules lose."""


def mpy_version() -> tuple[int, int]:
    """Version and sub-version of the .mpy files that mpy-cross makes here."""
    said = subprocess.run([app.mpy_cross(), "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"mpy v(\d+)\.(\d+)", said)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _source(module: str, overlay: Sequence[Path]) -> tuple[Path, str]:
    path = modules.path_of(module)
    if path is None:
        raise BoardTestError(f"There is no module {module}.", "The board names a driver that this checkout has not.")
    place = modules.place(path)
    for folder in overlay:
        if (folder / place).is_file():
            return folder / place, place
    return path, place


def make(folder: Path, arch: str, roots: Iterable[str], overlay: Sequence[Path] = ()) -> None:
    """Compile `roots`, all that they import, and our own modules into a folder. Raises BoardTestError.

    Modules that lie in a folder of `overlay`, by their place on the node, are taken from there.
    """
    try:
        for name in modules.closure(roots):
            source, place = _source(name, overlay)
            app.compile_file(source, (folder / place).with_suffix(".mpy"), arch or "xtensawin", place)
    except (app.BuildError, modules.ImportFault, SyntaxError) as error:
        raise BoardTestError(f"What the board is to run can't be built: {error}.") from error
    for source in OURS:
        if not source.is_file():
            raise BoardTestError(
                f"{source} is missing.", "The test runs from a checkout, whose tests/ has the vectors."
            )
        # Folded as the modules that they use are: names of constants are numbers there.
        text = folder / source.name
        text.write_text(fold_file(source, source.name))
        command = [app.mpy_cross(), "-s", source.name, "-o", str(text.with_suffix(".mpy")), str(text)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        text.unlink()
        if done.returncode:
            raise BoardTestError(
                f"{source} can't be compiled: {(done.stderr or done.stdout).strip().splitlines()[-1]}."
            )
