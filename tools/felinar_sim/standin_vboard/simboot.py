"""Starts a virtual board as the stock firmware does: mounts its flash as /, runs boot.py and main.py, and ends at the prompt."""

import sys

sys.path[:] = [".standin"]
import simmain

with open("boot-mode") as f:
    raw, native = f.read().split("\n")
simmain.put_in_place()
import os
import select  # in place before the application finds files
import time

import esp32
import machine
import simrepl
import vfs

_HIDDEN = (".standin", ".native")
_BOOT = "# This file is executed on every boot (including wake-boot from deepsleep)\n"


class Native:
    """The import, with another folder for modules whose machine code is the chip's."""

    def __init__(self, keep):
        self._keep = keep

    def __call__(self, name, *rest):
        try:
            return self._keep(name, *rest)
        except ValueError as e:
            if "mpy" not in str(e):
                raise
        package, _, last = name.rpartition(".")
        sys.path.insert(0, "/.native/" + package.replace(".", "/"))
        try:
            module = self._keep(last)
        finally:
            sys.path.pop(0)
        sys.modules[name] = module
        if package:
            setattr(sys.modules[package], last, module)
        return self._keep(name, *rest)


class Disk:
    """The partition of the files, read by the block: LittleFS reads few bytes at a time, and each would be a question to the simulator."""

    def __init__(self, partition):
        self._partition = partition
        self._view = memoryview(bytearray(4096))
        self._block = -1

    def readblocks(self, block, buf, offset=0):
        if block != self._block:
            self._partition.readblocks(block, self._view)
            self._block = block
        buf[:] = self._view[offset : offset + len(buf)]

    def writeblocks(self, block, buf, offset=None):
        self._block = -1
        self._partition.writeblocks(block, buf, offset)

    def ioctl(self, command, arg):
        self._block = -1
        return self._partition.ioctl(command, arg)


class Files:
    """The module `os` without a trace of the folder that the stand-ins are in."""

    def __getattr__(self, name):
        return getattr(inner, name)

    def ilistdir(self, *where):
        return (e for e in inner.ilistdir(*where) if e[0] not in _HIDDEN)

    def listdir(self, *where):
        return [e for e in inner.listdir(*where) if e not in _HIDDEN]


class Mounts:
    """The module `vfs` likewise: without arguments, `mount` lists what is mounted."""

    def __getattr__(self, name):
        return getattr(vfs, name)

    def mount(self, *what, **how):
        if what:
            return vfs.mount(*what, **how)
        return [m for m in vfs.mount() if m[1][1:] not in _HIDDEN]


def mount():
    vfs.mount(vfs.VfsPosix(".standin"), "/.standin")
    vfs.umount("/")
    found = esp32.Partition.find(esp32.Partition.TYPE_DATA, label="vfs")
    if not found:
        return
    disk = Disk(found[0])
    try:
        vfs.mount(vfs.VfsLfs2(disk), "/")
    except OSError:
        vfs.VfsLfs2.mkfs(disk)
        vfs.mount(vfs.VfsLfs2(disk), "/")
        with open("/boot.py", "w") as f:
            f.write(_BOOT)


mount()
if native:
    vfs.mount(vfs.VfsPosix(native), "/.native")
    import builtins

    builtins.__import__ = Native(builtins.__import__)
inner = os
sys.modules["os"] = Files()
sys.modules["vfs"] = Mounts()
sys.path[:] = ["", ".frozen", "/lib", "/.standin"]
space = {"__name__": "__main__"}
del mount, Native, Disk, Files, Mounts, os, esp32, select, time, machine
simrepl.run_file("boot.py", space)
if not raw:
    simrepl.run_file("main.py", space)
simrepl.prompt(space, raw)
