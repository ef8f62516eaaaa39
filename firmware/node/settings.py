"""The configuration as a transaction: checked, written beside the one in force, tried, and then kept or rolled back."""

# Loaded when there is something to do, and let go of again: what has to stay is a list, made by `begin`.
#
# Two blocks of raw flash. The one in force is never touched. What a cut of the power leaves of the other counts only if
# its CRC is right; what becomes of it afterwards is told by programming a byte in place. A byte that a cut has left half
# programmed counts as programmed, and is programmed again, so that it reads the same for ever.
#
# block: CRC-32 of the rest but the marks (4) | number, the newest has the highest (4) | CRC-32 of the config.json that it
#        takes the place of (4) | length (2) | marks: tried, tried again, kept, undone, told (5) | blank (1) | JSON
import json
import struct
from binascii import crc32

from felinar_wire import schema
from micropython import const

from node import config

_DATA = const(20)
_MARKS = const(14)
_TRIED = const(14)
_AGAIN = const(15)
_KEPT = const(16)
_UNDONE = const(17)
_TOLD = const(18)

# Places in the list.
_TRIAL = const(0)  # 1: what is in force has yet to be kept
_NEWS = const(1)  # EVENT code that is to be kept before `told` is called, 0 none
_CRC = const(2)  # low 16 bits of the CRC-32 of the configuration that the news is about
_ABOUT = const(3)  # its block
_PART = const(4)  # the partition; None: nothing can be changed
_BASE = const(5)  # CRC-32 of config.json, 0 if it can't be read
_MOST = const(6)  # bytes that a configuration may have
_BLOCK = const(7)  # in force; -1: config.json
_NEXT = const(8)  # in force from the next start on; -1: as now
_NUMBER = const(9)
_PARTS = const(10)  # of a configuration: id, total and CRC-32; bytes in a row from its start; the bytes


def _read(s: list, block: int):
    """(number, base, block, head, data) of a sound block, else None."""
    head = bytearray(_DATA)
    s[_PART].readblocks(block, head, 0)
    crc, number, base, n = struct.unpack_from("<IIIH", head, 0)
    if n > s[_MOST]:
        return None
    data = bytearray(n)
    s[_PART].readblocks(block, data, _DATA)
    return (number, base, block, head, data) if crc32(data, crc32(head[4:_MARKS])) == crc else None


def _mark(s: list, block: int, mark: int) -> None:
    try:
        s[_PART].writeblocks(block, b"\0", mark)
    except OSError:
        pass  # then it stays as it was


def begin(partition, base: int) -> list:
    """Find what is in force on the partition (or None) at a start; once config.json has changed it is the newer one."""
    s = [0, 0, 0, 0, partition, base, 0, -1, -1, 0, None]
    if partition:
        try:
            _find(s)
        except OSError:
            s[_MOST] = 0
    return s


def _find(s: list) -> None:
    s[_MOST] = s[_PART].ioctl(5, 0) - _DATA
    found = [found for found in (_read(s, 0), _read(s, 1)) if found]
    found.sort(key=lambda found: -found[0])
    for number, base, block, head, data in found:
        s[_NUMBER] = max(s[_NUMBER], number)
        if s[_BASE] and base != s[_BASE]:
            continue
        for i in range(_MARKS, _DATA):
            if 0 < head[i] < 255:
                _mark(s, block, i)
        undone = head[_UNDONE] < 255
        kept = head[_KEPT] < 255
        if not undone and not kept and head[_AGAIN] < 255:
            _mark(s, block, _UNDONE)  # two resets
            undone = True
        news = 0
        if not undone and not kept:
            s[_TRIAL] = 1
            _mark(s, block, _TRIED if head[_TRIED] == 255 else _AGAIN)
            news = schema.EVENT_CONFIG_TRIED
        elif head[_TOLD] == 255:
            news = schema.EVENT_CONFIG_ROLLED_BACK if undone else schema.EVENT_CONFIG_KEPT
        if not s[_NEWS]:
            s[_NEWS : _ABOUT + 1] = [news, crc32(data) & 0xFFFF, block]
        if not undone:
            s[_BLOCK] = block
            break


def read(s: list):
    """The newest configuration: the one to be tried next, else the one in force; None for config.json."""
    block = s[_BLOCK] if s[_NEXT] < 0 else s[_NEXT]
    found = _read(s, block) if block >= 0 else None
    return found and found[4]


def write(s: list, data) -> bool:
    """Have this tried from the next start on; False if that can't be: a trial is under way, or the flash fails."""
    if s[_TRIAL] or not 0 < len(data) <= s[_MOST]:
        return False
    part = s[_PART]
    block = 0 if s[_BLOCK] else 1
    s[_NEXT] = -1
    try:
        # Zeros first: however an erase ends, it can't bring back what was undone.
        part.writeblocks(block, bytes(_DATA), 0)
        part.ioctl(6, block)
        part.writeblocks(block, data, _DATA)
        s[_NUMBER] += 1
        head = struct.pack("<IIH", s[_NUMBER], s[_BASE], len(data))
        part.writeblocks(block, struct.pack("<I", crc32(data, crc32(head))) + head, 0)
        if not _read(s, block):
            return False
    except OSError:
        return False
    s[_NEXT] = block
    return True


def end(s: list, kept: bool) -> None:
    """End the trial. What is not kept is in force until the next start."""
    s[_TRIAL] = 0
    s[_NEWS] = schema.EVENT_CONFIG_KEPT if kept else 0
    _mark(s, s[_BLOCK], _KEPT if kept else _UNDONE)


def told(s: list) -> None:
    """The news is kept."""
    if not s[_TRIAL]:
        _mark(s, s[_ABOUT], _TOLD)


def _numbered(entry) -> int:
    return entry.get("number", -1)


def programmed(text, program) -> bytes:
    """The JSON with one program of the lamp put in, replaced or (without steps) taken out; `program` as in SCHEDULE."""
    number, days, first, last = program[:4]
    data = json.loads(text)
    lamp = data.setdefault("lamp", {})
    programs = [entry for entry in lamp.get("programs", ()) if _numbered(entry) != number]
    dim = []
    for i in range(4, len(program), 2):
        if program[i] is not None and program[i + 1] is not None:
            dim.append(["%02d:%02d" % divmod(program[i], 60), program[i + 1]])
    if dim:
        entry = {"number": number, "dim": dim, "from": "%d-%d" % divmod(first, 100), "to": "%d-%d" % divmod(last, 100)}
        entry["days"] = ",".join(["motuwethfrsasu"[2 * i : 2 * i + 2] for i in range(7) if days >> i & 1])
        programs.append(entry)
    programs.sort(key=_numbered)
    lamp["programs"] = programs
    return json.dumps(data).encode()


def change(s: list, what, find) -> int:
    """Have a configuration tried; returns a RESULT code, and without APPLIED all is as before.

    `what` is a CONFIG_PART, or the program of a SCHEDULE; `find` gives config.json. Parts come in order, from the start again
    after one that was lost.
    """
    try:
        if isinstance(what, bytes):
            id, at, total, crc = struct.unpack_from(">HHHI", what, 0)
            parts = s[_PARTS]
            if not parts or parts[0] != (id, total, crc):
                if not 0 < total <= s[_MOST]:
                    return schema.RESULT_REFUSED
                parts = s[_PARTS] = [(id, total, crc), 0, bytearray(total)]
            stop = at + len(what) - 10
            if at <= parts[1] and stop <= total:
                parts[2][at:stop] = what[10:]
                parts[1] = max(parts[1], stop)
            if parts[1] < total:
                return schema.RESULT_MISSING
            text = parts[2]
            s[_PARTS] = None
            if crc32(text) != crc:
                return schema.RESULT_INVALID
        else:
            text = programmed(read(s) or find("config.json"), what)
        if config.read(json.loads(text)).bad:
            return schema.RESULT_INVALID
    except (AttributeError, TypeError, ValueError):
        return schema.RESULT_INVALID
    return schema.RESULT_APPLIED if write(s, text) else schema.RESULT_REFUSED
