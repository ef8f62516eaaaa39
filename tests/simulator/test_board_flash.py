"""Partitions and NVS on a board, and its power lost in the middle of any flash operation."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .conftest import Bench

Start = Callable[..., Bench]


def test_partition_semantics(start: Start) -> None:
    bench = start("partitions.py")
    lines = bench.run(5)
    assert lines == [
        "outbox (1, 129, 3473408, 131072, 'outbox', False) blocks 32 of 4096",
        "kinds ['nvs', 'otadata', 'phy_init', 'outbox', 'config', 'vfs'] ['ota_0', 'ota_1'] []",
        "appended b'one' b'two' b'\\xff'",
        "cleared b'\\x0f'",
        "no offset erases b'\\xff\\xff\\xff' b'\\x07\\x07\\x07'",
        "erased b'\\xff\\xff\\xff'",
        "array array('H', [513, 1027])",
        "errors -260 -260 -260 2",
    ]
    first = 0x350000 // 4096
    assert bench.board.flash.erases[first : first + 3] == [2, 2, 0]


def test_flash_takes_its_time(start: Start) -> None:
    program = (
        "import time\nfrom esp32 import Partition\np = Partition('outbox')\ndef took(f, *a):\n  t = time.ticks_us(); f(*a); "
        "return time.ticks_diff(time.ticks_us(), t) // 1000\nprint(took(p.ioctl, 6, 0), took(p.writeblocks, 0, bytes(4096), 0))"
    )
    assert start(program).run(1) == ["45 6"], "45 ms an erase, 16 pages of 0.4 ms"


def test_nvs_semantics(start: Start) -> None:
    bench = start("stored.py")
    assert bench.run(5) == [
        "integer -5 2147483647", "blob 3 b'abc'", "errors -4354 -4354 -4364 -4354 -4361", "other b'there'", "boot 1",
    ]  # fmt: skip
    bench.board.power_cycle()
    assert bench.run(5)[-1] == "boot 2"
    assert bench.board.nvs.items()["felinar/boot"] == b"\x02\0\0\0"


@pytest.mark.parametrize("torn", [0.0, 0.5, 1.0])
def test_power_cut_at_every_flash_operation(start: Start, torn: float) -> None:
    """A counter that is written alternately to two blocks, as a program that knows flash does it: never lost, never wrong."""
    bench = start("two_blocks.py", boot_ms=10)
    board = bench.board
    board.restore_after_s = 0.5
    last = 0
    for operations in range(1, 12):
        board.cut_after(operations, torn)
        bench.run(5)
        assert not board.fuse.armed
        found = [int(line.split()[1]) for line in bench.lines if line.startswith("found")]
        told = [int(line.split()[1]) for line in bench.lines if line.startswith("counted")]
        assert len(found) == operations + 1
        assert found[-1] in (told[-1], told[-1] + 1) or found[-1] >= max(
            told[: told.index(last) + 1] if last in told else [0]
        )
        assert found == sorted(found)
        last = found[-1]
    assert last > 10


def test_cut_kills_the_program_at_the_operation(start: Start) -> None:
    program = (
        "from esp32 import Partition\np = Partition('outbox')\n"
        "for k in range(10):\n  p.writeblocks(0, bytes([k] * 100), 100 * k)\n  print('wrote', k)"
    )
    bench = start(program)
    bench.board.cut_after(3, torn=0.5)
    bench.run(5)
    assert bench.lines == ["wrote 0", "wrote 1", "wrote 2"]
    assert not bench.board.powered
    data = bench.board.flash.read(0x350000, 400)
    assert data[300:350] == b"\x03" * 50
    assert data[351:] == b"\xff" * 49
