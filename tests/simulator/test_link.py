"""The pipe: numbers are the same on both ends, frames may come in pieces."""

from __future__ import annotations

import os
import re
import struct
from pathlib import Path

import felinar_sim
import pytest
from felinar_sim.link import Exit, Hung, Link, Op, Source

HERE = Path(felinar_sim.__file__).parent
FILES = sorted([*HERE.glob("standin/*.py"), *HERE.glob("standin_drivers/*.py")])
NUMBERS = {
    **{op.name: op.value for op in Op},
    **{reason.name: reason.value for reason in Exit},
    "CONSOLE_IN": Source.CONSOLE.value,
    "I2S_IN": Source.I2S0.value,
    "UART_IN": Source.UART1.value,
    "IRQ": Source.IRQ.value,
    "INTERRUPT": Source.INTERRUPT.value,
    "IDLE": Source.IDLE.value,
    "LOW": Source.LOW0.value,
}


def test_stand_ins_use_the_same_numbers() -> None:
    used = set()
    for file in FILES:
        for name, number in re.findall(r"^_([A-Z0-9_]+) = const\((\d+)\)", file.read_text(), re.MULTILINE):
            if name in NUMBERS:
                assert NUMBERS[name] == int(number), f"{file.name}: {name}"
                used.add(name)
    assert used >= {op.name for op in Op}, "every request is used by a stand-in"


def test_stand_ins_hold_no_models() -> None:
    for file in FILES:
        assert not re.search(r"import (math|random)\b", file.read_text()) or file.name == "simmain.py", file.name


def test_frames_in_pieces() -> None:
    link = Link()
    message = struct.pack("<BBHIIIq", Op.I2C_WRITE, 128, 3, 4, 55, 66, -7) + b"data" + bytes(4)
    whole = message + message[:10]
    os.write(link.board_out, whole)
    frame = link.wait_next(1)
    assert frame is not None
    assert tuple(frame) == (Op.I2C_WRITE, 128, 3, 55, -7, 66, b"data")
    assert link.next() is None
    os.write(link.board_out, message[10:])
    assert link.wait_next(1) == frame
    with pytest.raises(Hung):
        link.wait_next(0.01)
    link.close()


def test_answers_and_the_end_of_a_board() -> None:
    link = Link()
    assert link.answer(123, 19, 257, b"ab", 456)
    assert struct.unpack("<qHHIq2s", os.read(link.board_in, 100)) == (123, 19, 257, 2, 456, b"ab")
    link.started()
    assert link.wait_next(1) is None
    assert not link.answer(1, 0, 0, b"")
    link.close()
