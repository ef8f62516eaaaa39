"""Starts a virtual board as the stock firmware does: mounts its flash as /, runs boot.py and main.py, and ends at the prompt."""

import sys

sys.path[:] = [".standin"]
import simmain

with open("boot-mode") as f:
    raw = f.read() == "raw"
simmain.put_in_place()
import os
import select  # in place before the application finds files
import time

import esp32
import machine
import simrepl
import vfs

_BOOT = "# This file is executed on every boot (including wake-boot from deepsleep)\n"


class Files:
    """The module `os` without a trace of the folder that the stand-ins are in."""

    def __getattr__(self, name):
        return getattr(inner, name)

    def ilistdir(self, *where):
        return (e for e in inner.ilistdir(*where) if e[0] != ".standin")

    def listdir(self, *where):
        return [e for e in inner.listdir(*where) if e != ".standin"]


class Mounts:
    """The module `vfs` likewise: without arguments, `mount` lists what is mounted."""

    def __getattr__(self, name):
        return getattr(vfs, name)

    def mount(self, *what, **how):
        if what:
            return vfs.mount(*what, **how)
        return [m for m in vfs.mount() if m[1] != "/.standin"]


def mount():
    vfs.mount(vfs.VfsPosix(".standin"), "/.standin")
    vfs.umount("/")
    found = esp32.Partition.find(esp32.Partition.TYPE_DATA, label="vfs")
    if not found:
        return
    try:
        vfs.mount(vfs.VfsLfs2(found[0]), "/")
    except OSError:
        vfs.VfsLfs2.mkfs(found[0])
        vfs.mount(vfs.VfsLfs2(found[0]), "/")
        with open("/boot.py", "w") as f:
            f.write(_BOOT)


mount()
inner = os
sys.modules["os"] = Files()
sys.modules["vfs"] = Mounts()
sys.path[:] = ["", ".frozen", "/lib", "/.standin"]
space = {"__name__": "__main__"}
del mount, Files, Mounts, os, esp32, select, time, machine
simrepl.run_file("boot.py", space)
if not raw:
    simrepl.run_file("main.py", space)
simrepl.prompt(space, raw)
