"""Starts a board: puts the stand-ins in place, runs main.py, and ends where a chip ends, at the prompt."""

import builtins
import os
import random
import sys

import micropython
import simconsole
import simlink
from micropython import const

_KBD_INTR = const(5)
_RANDOM = const(8)
_SOFT = const(1)


class Over:
    """A module with some of its names replaced."""

    def __init__(self, module):
        self._module = module

    def __getattr__(self, name):
        return getattr(self._module, name)


def urandom(n):
    buf = bytearray(n)
    for at in range(0, n, 256):
        part = memoryview(buf)[at : at + 256]
        simlink.ask(_RANDOM, b=len(part), into=part)
    return bytes(buf)


def kbd_intr(char):
    simlink.post(_KBD_INTR, a=char)


def put_in_place():
    buffer = bytearray(64)
    simlink.hello(buffer)
    random.seed(int.from_bytes(buffer[16:20], "little"))
    ours = Over(sys)
    ours.platform = "esp32"
    ours.stdin = ours.stdout = ours.stderr = simconsole.stdout
    ours.print_exception = lambda e, file=simconsole.stdout, keep=sys.print_exception: keep(e, file)
    ours.exit = sys.exit
    sys.modules["sys"] = ours
    ours = Over(micropython)
    ours.kbd_intr = kbd_intr
    sys.modules["micropython"] = ours
    ours = Over(os)
    ours.urandom = urandom
    sys.modules["os"] = ours
    if os.getenv("FELINAR_SIM_ROOMY"):
        import gc

        ours = Over(gc)
        ours.threshold = lambda amount=-1: -1
        sys.modules["gc"] = ours
    builtins.print = simconsole.console_print
    import machine

    machine.begin(buffer)
    import simtasks

    sys.modules["_asyncio"] = simtasks
    if buffer[0] & 2:
        import simprobe

        simprobe.put_in_place()


def run():
    try:
        with open(".app/main.py") as f:
            code = compile(f.read(), "main.py", "exec")
        exec(code, {"__name__": "__main__"})
    except SystemExit:
        simlink.exit(_SOFT)
    except BaseException as e:
        sys.print_exception(e, simconsole.stdout)


def prompt():
    """The chip's prompt, as far as a line of a node needs it: Ctrl-D starts over."""
    out = simconsole.stdout
    out.write('MicroPython; ESP32 module (simulated)\nType "help()" for more information.\n>>> ')
    while True:
        try:
            c = out.buffer.read(1)
        except KeyboardInterrupt:
            c = b"\r"
        if c == b"\x04":
            out.write("\nMPY: soft reboot\n")
            simlink.exit(_SOFT)
        elif c == b"\r":
            out.write("\n>>> ")


def main():
    global put_in_place
    put_in_place()
    del put_in_place
    run()
    prompt()
