"""Who holds a serial port: the process behind "device or resource busy", as far as this user may see it (Linux)."""

from __future__ import annotations

import os
from pathlib import Path


def holder(path: str, *, proc: Path = Path("/proc")) -> tuple[int, str] | None:
    """Process number and name of another process that has locked or opened a device; None when it can't be found."""
    try:
        real = os.path.realpath(path)
        status = os.stat(real)
    except OSError:
        return None
    pid = _locker(status, proc) or _opener(real, proc)
    return (pid, _name(pid, proc)) if pid else None


def _locker(status: os.stat_result, proc: Path) -> int | None:
    """From the table of file locks, which shows those of other users too."""
    mark = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    try:
        lines = (proc / "locks").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        parts = line.split()
        if len(parts) > 5 and parts[1] == "FLOCK" and parts[5] == mark and parts[4].isdigit():
            pid = int(parts[4])
            if pid not in (0, os.getpid()):
                return pid
    return None


def _opener(real: str, proc: Path) -> int | None:
    for entry in proc.iterdir() if proc.is_dir() else ():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            if any(os.readlink(fd) == real for fd in (entry / "fd").iterdir()):
                return int(entry.name)
        except OSError:
            continue
    return None


def _name(pid: int, proc: Path) -> str:
    try:
        return (proc / str(pid) / "comm").read_text().strip()
    except OSError:
        return "?"
