"""The chip's prompt on the console's stand-in: friendly, paste and raw mode with raw paste, as MicroPython's own (its reference manual, "The MicroPython REPL")."""

import gc
import io
import sys

import simconsole
import simlink
import simmain
from micropython import const

_EXIT = const(3)
_SOFT = const(1)
_WINDOW = const(128)
_BANNER = 'MicroPython v%d.%d.%d on a virtual board; %s\r\nType "help()" for more information.\r\n'
_HIDDEN = ('  File ".standin/', '  File "/.standin/', '  File "sim')

_BLOCKS = ("if", "while", "for", "try", "with", "def", "class", "async")

out = simconsole.stdout.buffer


def soft_reset(raw):
    simlink.post(_EXIT, _SOFT, a=1 if raw else 0)
    while True:
        simlink.wait(-1, 0)


def tell(e):
    """A traceback without the lines of the stand-ins. The real prompt needs no memory for it: here it is short where there is none."""
    gc.collect()
    try:
        text = io.StringIO()
        sys.print_exception(e, text)
        for line in text.getvalue().split("\n"):
            if line and not any(line.startswith(h) for h in _HIDDEN):
                simconsole.stdout.write(line + "\n")
    except MemoryError:
        out.write(b"MemoryError: no room for a traceback\r\n")


def run_file(name, space):
    """boot.py or main.py, when there is one."""
    try:
        with open(name) as f:
            source = f.read()
    except OSError:
        return
    execute(source, name, space, False)


def execute(source, name, space, raw, mode="exec"):
    """Run a source; in raw mode the ends of output and error are marked."""
    simmain.kbd_intr(3)
    try:
        value = None
        try:
            if mode == "eval":
                value = eval(compile(source, name, mode), space)
            else:
                exec(compile(source, name, mode), space)
            source = None
        finally:
            simmain.kbd_intr(-1)
        if value is not None:
            simconsole.stdout.write(repr(value) + "\n")
            space["_"] = value
        if raw:
            out.write(b"\x04")
    except SystemExit:
        if raw:
            out.write(b"\x04\x04")
        soft_reset(raw)
    except BaseException as e:
        if raw:
            out.write(b"\x04")
        tell(e)
    if raw:
        out.write(b"\x04")


def prompt(space, raw):
    """For ever: the prompt in one mode and the other."""
    simmain.kbd_intr(-1)
    while True:
        raw_mode(space) if raw else friendly(space)
        raw = not raw


def raw_mode(space):
    out.write(b"raw REPL; CTRL-B to exit\r\n")
    while True:
        out.write(b">")
        line = bytearray()
        while True:
            c = out.read(1)
            if c == b"\x01":
                if bytes(line) == b"\x05A":
                    line = raw_paste()
                    break
                out.write(b"raw REPL; CTRL-B to exit\r\n>")
                line = bytearray()
            elif c == b"\x02":
                out.write(b"\r\n")
                return
            elif c == b"\x03":
                line = bytearray()
            elif c == b"\x04":
                out.write(b"OK")
                if not line:
                    out.write(b"\r\n")
                    soft_reset(True)
                break
            else:
                line += c
        if line is not None:
            execute(str(line, "utf8"), "<stdin>", space, True)


def raw_paste():
    """A source in windows of 128 bytes; None when it was broken off."""
    out.write(b"R\x01" + bytes((_WINDOW, 0)) + b"\x01")
    line = bytearray()
    while True:
        c = out.read(1)
        if c == b"\x03":
            out.write(b"\x04")
            return None
        if c == b"\x04":
            out.write(b"\x04")
            return line
        line += c
        if len(line) % _WINDOW == 0:
            out.write(b"\x01")


def friendly(space):
    """Lines with echo until Ctrl-A."""
    v = sys.implementation.version
    out.write((_BANNER % (v[0], v[1], v[2], "ESP32 module (simulated)")).encode())
    while True:
        source = statement()
        if source is None:
            return
        if source.strip():
            try:
                compile(source, "<stdin>", "eval")
                mode = "eval"
            except SyntaxError:
                mode = "exec"
            execute(source, "<stdin>", space, False, mode)


def statement():
    """One statement of one or more lines; None for raw mode."""
    out.write(b">>> ")
    source = ""
    while True:
        line = read_line(not source)
        if line is None:
            return None
        if line is False:
            return ""
        if line == "\x05":
            return paste()
        source += line + "\n"
        if not goes_on(source, line):
            return source
        out.write(b"... ")


def goes_on(source, line):
    """Whether more lines belong to a statement: an open bracket or text, a backslash, or a block until an empty line."""
    depth = 0
    quote = ""
    i = 0
    while i < len(source):
        c = source[i]
        if quote:
            if c == "\\":
                i += 1
            elif source.startswith(quote, i):
                i += len(quote) - 1
                quote = ""
            elif c == "\n" and len(quote) == 1:
                quote = ""
        elif c in "\"'":
            quote = c * 3 if source.startswith(c * 3, i) else c
            i += len(quote) - 1
        elif c == "#":
            while i + 1 < len(source) and source[i + 1] != "\n":
                i += 1
        elif c in "([{":
            depth += 1
        elif c in ")]}":
            depth -= 1
        i += 1
    if depth > 0 or quote or line.endswith("\\"):
        return True
    first = source.lstrip().split("\n")[0]
    return bool(line.strip()) and (first.startswith("@") or first.split(" ")[0].rstrip(":") in _BLOCKS)


def read_line(first):
    """A line with echo; None after Ctrl-A, False after Ctrl-B or Ctrl-C, Ctrl-E as it is; Ctrl-D on an empty one starts over."""
    line = ""
    while True:
        c = out.read(1)
        n = c[0]
        if n in (13, 10):
            out.write(b"\r\n")
            return line
        if n == 3 or (n == 2 and not line):
            out.write(b"\r\n")
            return False
        if n == 1 and not line:
            out.write(b"\r\n")
            return None
        if n == 4 and not line:
            out.write(b"\r\n")
            soft_reset(False)
        elif n == 5 and first and not line:
            return "\x05"
        elif n in (8, 127):
            if line:
                line = line[:-1]
                out.write(b"\x08 \x08")
        elif n == 27:
            out.read(2)  # a cursor key
        elif n >= 32 or n == 9:
            while n >= 0xC0 and len(c) < (2 if n < 0xE0 else 3 if n < 0xF0 else 4):
                c += out.read(1)
            line += str(c, "utf8")
            out.write(c)


def paste():
    """Lines as they are until Ctrl-D."""
    out.write(b"\r\npaste mode; Ctrl-C to cancel, Ctrl-D to finish\r\n=== ")
    source = bytearray()
    while True:
        c = out.read(1)
        if c == b"\x03":
            out.write(b"\r\n")
            return ""
        if c == b"\x04":
            out.write(b"\r\n")
            return str(source, "utf8")
        if c == b"\r":
            source += b"\n"
            out.write(b"\r\n=== ")
        else:
            source += c
            out.write(c)
