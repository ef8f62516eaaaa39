"""Flash and NVS: NOR semantics, wear, and power lost before, after and in the middle of an operation."""

from __future__ import annotations

from pathlib import Path

import pytest
from felinar_sim.flash import BLOCK, Flash, Fuse, Nvs, PowerLost, partition_table
from hypothesis import given
from hypothesis import strategies as st

SIZE = 16 * BLOCK


def test_fresh_flash_is_erased() -> None:
    assert Flash(SIZE).read(0, SIZE) == b"\xff" * SIZE


@given(st.lists(st.tuples(st.integers(0, 2 * BLOCK - 64), st.binary(min_size=1, max_size=64)), max_size=20))
def test_programming_only_clears_bits(writes: list[tuple[int, bytes]]) -> None:
    flash, expected = Flash(SIZE), bytearray(b"\xff" * 2 * BLOCK)
    for at, data in writes:
        flash.program(at, data)
        for i, byte in enumerate(data):
            expected[at + i] &= byte
    assert flash.read(0, 2 * BLOCK) == expected


def test_programming_over_block_borders_and_counting_overwrites() -> None:
    flash = Flash(SIZE)
    flash.program(BLOCK - 2, b"\x00\x00\xf0\xf0")
    assert flash.read(BLOCK - 3, 6) == b"\xff\x00\x00\xf0\xf0\xff"
    assert flash.overwrites == 0
    flash.program(BLOCK - 1, b"\x01\x70")
    assert flash.overwrites == 1, "only the first of the two bytes asked for a bit to be set"


def test_erasing_sets_one_block_and_counts_wear() -> None:
    flash = Flash(SIZE)
    flash.program(0, bytes(3 * BLOCK))
    flash.erase(BLOCK)
    flash.erase(BLOCK)
    assert flash.read(0, 3 * BLOCK) == bytes(BLOCK) + b"\xff" * BLOCK + bytes(BLOCK)
    assert flash.erases[:3] == [0, 2, 0]
    with pytest.raises(ValueError, match="start of a block"):
        flash.erase(BLOCK + 1)


def test_outside_of_the_flash() -> None:
    flash = Flash(SIZE)
    with pytest.raises(ValueError, match="outside"):
        flash.read(SIZE - 1, 2)
    with pytest.raises(ValueError, match="outside"):
        flash.program(SIZE, b"x")


def test_cut_before_an_operation_leaves_nothing_of_it() -> None:
    flash = Flash(SIZE)
    flash.cut_after(1)
    flash.program(0, b"one")
    with pytest.raises(PowerLost):
        flash.program(16, b"two")
    assert (flash.read(0, 3), flash.read(16, 3), flash.fuse.operations) == (b"one", b"\xff" * 3, 1)


def test_cut_right_after_an_operation_leaves_all_of_it() -> None:
    flash = Flash(SIZE)
    flash.program(0, bytes(BLOCK))
    flash.cut_after(0, torn=1)
    with pytest.raises(PowerLost):
        flash.erase(0)
    assert flash.read(0, BLOCK) == b"\xff" * BLOCK
    assert flash.read(0, BLOCK) == flash.read(0, BLOCK)
    assert not flash.fuse.armed


@pytest.mark.parametrize("torn", [0.01, 0.3, 0.5, 0.99])
def test_torn_program_leaves_a_beginning_and_some_bits(torn: float) -> None:
    flash = Flash(SIZE, seed=torn)
    data = bytes(range(100))
    flash.cut_after(0, torn)
    with pytest.raises(PowerLost):
        flash.program(0, data)
    whole = int(100 * torn)
    got = flash.read(0, 100)
    assert got[:whole] == data[:whole]
    assert got[whole] & data[whole] == data[whole], "bits are cleared only where they were asked to be"
    assert got[whole + 1 :] == b"\xff" * (99 - whole)


def test_torn_erase_is_neither_old_nor_new_and_partly_unstable() -> None:
    flash = Flash(SIZE)
    flash.program(0, b"\x55" * BLOCK)
    flash.cut_after(0, 0.5)
    with pytest.raises(PowerLost):
        flash.erase(0)
    first, second = flash.read(0, BLOCK), flash.read(0, BLOCK)
    share = sum((b & 0xAA).bit_count() for b in first) / (4 * BLOCK)
    assert 0.4 < share < 0.6
    assert all(b & 0x55 == 0x55 for b in first), "a bit that was set stays set"
    assert first != second, "half-erased cells read differently from time to time"
    flash.program(0, bytes(BLOCK))
    assert flash.read(0, BLOCK) == bytes(BLOCK), "a programmed 0 is a firm 0"
    flash.erase(0)
    assert flash.read(0, BLOCK) == b"\xff" * BLOCK


def test_content_outlives_the_simulator(tmp_path: Path) -> None:
    path = tmp_path / "flash.bin"
    flash = Flash(SIZE, path=path)
    flash.program(BLOCK - 1, b"\x12\x34")
    flash.program(5 * BLOCK, bytes(10))
    flash.erase(5 * BLOCK)
    flash.close()
    again = Flash(SIZE, path=path)
    assert again.read(BLOCK - 2, 4) == b"\xff\x12\x34\xff"
    assert again.read(5 * BLOCK, 10) == b"\xff" * 10
    again.close()
    assert path.stat().st_blocks * 512 < SIZE, "the file is sparse"


def test_fuse_refuses_nonsense() -> None:
    for operations, torn in ((-1, 0.0), (0, 1.5), (0, -0.1)):
        with pytest.raises(ValueError, match="cut_after"):
            Fuse().cut_after(operations, torn)


def test_nvs_kinds_and_persistence(tmp_path: Path) -> None:
    nvs = Nvs(path=tmp_path / "nvs.json")
    nvs.set("felinar", "boot", 1, b"\x01\0\0\0")
    nvs.set("felinar", "key", 2, b"secret")
    assert nvs.get("felinar", "boot", 2) is None, "another kind is not found, as on the chip"
    again = Nvs(path=tmp_path / "nvs.json")
    assert (again.get("felinar", "boot", 1), again.get("felinar", "key", 2)) == (b"\x01\0\0\0", b"secret")
    assert again.erase("felinar", "key")
    assert not again.erase("felinar", "key")


@pytest.mark.parametrize(("torn", "expected"), [(0.0, b"old"), (0.3, b"old"), (0.7, b"new"), (1.0, b"new")])
def test_nvs_write_is_old_or_new_after_a_cut(torn: float, expected: bytes) -> None:
    fuse = Fuse()
    nvs = Nvs(fuse=fuse)
    nvs.set("n", "k", 2, b"old")
    fuse.cut_after(0, torn)
    with pytest.raises(PowerLost):
        nvs.set("n", "k", 2, b"new")
    assert nvs.get("n", "k", 2) == expected


def test_nvs_and_flash_share_the_count() -> None:
    fuse = Fuse()
    flash, nvs = Flash(SIZE, fuse=fuse), Nvs(fuse=fuse)
    fuse.cut_after(2)
    flash.program(0, b"x")
    nvs.set("n", "k", 1, b"\0\0\0\0")
    nvs.set("n", "k", 1, b"\0\0\0\0")  # the same value: nothing is written
    with pytest.raises(PowerLost):
        flash.erase(0)


def test_partition_table_layout() -> None:
    table = partition_table([{"name": "outbox", "type": "data", "subtype": "fat", "offset": 0x350000, "size": 0x20000}])
    assert table == bytes.fromhex("aa50 01 81 00003500 00000200") + b"outbox".ljust(16, b"\0") + bytes(4)
