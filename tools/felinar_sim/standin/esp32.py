"""Stand-in for the chip's `esp32`: flash partitions and NVS with ESP-IDF's semantics."""

import simlink
from micropython import const

_FLASH_READ = const(40)
_FLASH_WRITE = const(41)
_FLASH_ERASE = const(42)
_NVS_GET = const(44)
_NVS_SET = const(45)
_NVS_ERASE = const(46)

_TABLE = const(0x8000)
_ENTRY = const(32)
_BLOCK = const(4096)
_NOT_FOUND = const(4354)  # ESP_ERR_NVS_NOT_FOUND
_BUSY_CHUNK = const(4096)


def _check(status):
    if status == _NOT_FOUND:
        raise OSError(-status, "ESP_ERR_NVS_NOT_FOUND")
    if status:
        raise OSError(-status, "ESP_ERR")


class Partition:
    TYPE_APP = const(0)
    TYPE_DATA = const(1)
    BOOT = const(0)
    RUNNING = const(1)

    def __init__(self, id, block_size=_BLOCK):
        if isinstance(id, tuple):
            self._info = id
            return
        if isinstance(id, int):
            found = Partition.find(Partition.TYPE_APP)
        else:
            found = Partition.find(Partition.TYPE_APP, label=id) or Partition.find(Partition.TYPE_DATA, label=id)
        if not found:
            raise OSError(2)
        self._info = found[0]._info

    @staticmethod
    def find(type=TYPE_APP, subtype=0xFF, label=None, block_size=_BLOCK):
        found = []
        e = bytearray(_ENTRY)
        at = _TABLE
        while True:
            simlink.ask(_FLASH_READ, 0, at, _ENTRY, None, e)
            if e[0] != 0xAA or e[1] != 0x50:
                return found
            at += _ENTRY
            name = bytes(e[12:28]).rstrip(b"\0").decode()
            if e[2] == type and subtype in (0xFF, e[3]) and label in (None, name):
                where = int.from_bytes(e[4:8], "little"), int.from_bytes(e[8:12], "little")
                found.append(Partition((e[2], e[3]) + where + (name, bool(e[28] & 1))))  # noqa: RUF005 (no * here in MicroPython)

    def info(self):
        return self._info

    def _at(self, block, offset, n):
        at = block * _BLOCK + offset
        if at < 0 or at + n > self._info[3]:
            _check(260 if 0 <= at <= self._info[3] else 258)
        return self._info[2] + at

    def readblocks(self, block, buf, offset=0):
        buf = simlink.raw(buf)
        _check(simlink.ask(_FLASH_READ, 0, self._at(block, offset, len(buf)), len(buf), None, buf))

    def writeblocks(self, block, buf, offset=None):
        buf = simlink.raw(buf)
        n = len(buf)
        at = self._at(block, offset or 0, n)
        if offset is None:
            if n % _BLOCK:
                _check(260)
            for part in range(0, n, _BLOCK):
                _check(simlink.ask(_FLASH_ERASE, 0, at + part))
        if n <= _BUSY_CHUNK:
            _check(simlink.ask(_FLASH_WRITE, 0, at, 0, buf))
        else:
            view = memoryview(buf)
            for part in range(0, n, _BUSY_CHUNK):
                _check(simlink.ask(_FLASH_WRITE, 0, at + part, 0, view[part : part + _BUSY_CHUNK]))

    def ioctl(self, cmd, arg):
        if cmd in (1, 2, 3):
            return 0
        if cmd == 4:
            return self._info[3] // _BLOCK
        if cmd == 5:
            return _BLOCK
        if cmd == 6:
            _check(simlink.ask(_FLASH_ERASE, 0, self._at(arg, 0, _BLOCK)))
            return 0


class NVS:
    def __init__(self, namespace):
        if len(namespace) > 15:
            _check(4361)
        self._space = namespace.encode() + b"\0"

    def _get(self, key, kind, buf):
        _check(simlink.ask(_NVS_GET, kind, 0, len(buf), self._space + key.encode(), buf))
        return simlink.got

    def _set(self, key, kind, value):
        if len(key) > 15:
            _check(4361)
        _check(simlink.ask(_NVS_SET, kind, 0, 0, self._space + key.encode() + b"\0" + value))

    def get_i32(self, key):
        buf = bytearray(4)
        self._get(key, 1, buf)
        v = int.from_bytes(buf, "little")
        return v - (1 << 32) if v >> 31 else v

    def set_i32(self, key, value):
        self._set(key, 1, (value & 0xFFFFFFFF).to_bytes(4, "little"))

    def get_blob(self, key, buffer):
        return self._get(key, 2, simlink.raw(buffer))

    def set_blob(self, key, value):
        self._set(key, 2, bytes(value))

    def erase_key(self, key):
        _check(simlink.ask(_NVS_ERASE, 0, 0, 0, self._space + key.encode()))

    def commit(self):
        pass
