"""The whole lamp node, loaded from LittleFS as on a chip, has room: every sensor is read, the microphone's buffer in a row included."""

from __future__ import annotations

import re
import time

import pytest
from felinar.flash.prove import SerialLine
from felinar_board_test import own
from felinar_sim.vboard.program import HEAP

TIGHTER = "216K"
"""Two thirds of what is free then: loading breaks a heap into pieces, so that what is free may still not do."""
SETTLE_S = 4.0
"""Every driver is opened at once; what lacks memory then has failed twice by now."""
LEAST = 20_000
"""Bytes that stay free: what a configuration, an update or a trace of a crash needs for a moment."""


@pytest.mark.parametrize("heap", [HEAP, TIGHTER])
def test_no_sensor_lacks_memory(heap: str) -> None:
    with own.board(heap=heap) as board, SerialLine(board.url) as line:
        said = ""

        def until(end: str, command: bytes) -> None:
            nonlocal said
            line.write(command)
            began = time.monotonic()
            while not re.search(end, said):
                assert time.monotonic() - began < 60, said
                said += line.read(0.5).decode(errors="replace")

        until("HELLO|\\x00", b"")
        time.sleep(SETTLE_S)
        until("(?m)^(PASS|FAIL)", b"selftest\r")
        until("bl0937 {", b"status\rread\r")
        assert board.program is not None
        log = board.program.log.path.read_text()
    assert "MemoryError" not in log
    assert "ok ics43434" in said
    assert "crashes 0" in said
    assert dict(re.findall(r"(\w+) \{.*?\} errors (\d+)", said)) == dict.fromkeys(
        ("bh1750", "sps30", "scd41", "sht4x", "ics43434", "bl0937"), "0"
    )
    heap_low = re.search(r"heap \d+ low (\d+)", said)
    assert heap_low
    assert int(heap_low[1]) >= LEAST
