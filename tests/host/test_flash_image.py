"""What a board gets, checked by others' readers: ESP-IDF's NVS generator, esptool, LittleFS under the real MicroPython."""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path

import pytest
from esp_idf_nvs_partition_gen import nvs_partition_gen
from esptool.bin_image import LoadFirmwareImage
from felinar.flash import chip as chips
from felinar.flash import firmware as firmwares
from felinar.flash import image as images
from felinar.flash import nvs, parts
from felinar.flash.catalogue import FlashError
from felinar_build import app as build
from felinar_build.board import load_all
from felinar_sim.vboard import image as readers
from felinar_sim.vboard.chips import KINDS
from felinar_sim.vboard.nor import NorFlash
from felinar_sim.vboard.nvs import FlashNvs
from littlefs import LittleFS, UserContext

from tests.host.flash_boards import CONFIG, firmware_file, quick_board, quick_radio_board
from tests.support.micropython import run

KEY = bytes(range(16, 32))


@pytest.fixture(scope="module")
def firmware(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return firmware_file(tmp_path_factory.mktemp("firmware"))


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory, firmware: Path) -> images.Image:
    return images.build(quick_board(tmp_path_factory.mktemp("board")), CONFIG, KEY, firmware)


def flashed(image: images.Image) -> NorFlash:
    flash = NorFlash(4 << 20, seed=0)
    for at, data in image.segments:
        flash.place(at, data)
    return flash


@pytest.mark.parametrize("size", [1, 16, 31, 32, 33, 1000])
def test_nvs_is_what_the_generator_of_esp_idf_writes(size: int, tmp_path: Path) -> None:
    blob = bytes(i * 7 & 255 for i in range(size))
    table = tmp_path / "nvs.csv"
    table.write_text(f"key,type,encoding,value\nfelinar,namespace,,\nkey,data,hex2bin,{blob.hex()}\n")
    out = tmp_path / "nvs.bin"
    nvs_partition_gen.generate(
        argparse.Namespace(input=str(table), output=str(out), size="0x4000", version=2, outdir=str(tmp_path), keygen=False, inputkey=None)
    )  # fmt: skip
    assert nvs.partition(0x4000, "felinar", {"key": blob}) == out.read_bytes()


def test_nvs_refuses_what_it_has_no_room_for() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        nvs.partition(0x4000, "felinar", {"key": bytes(4000)})
    with pytest.raises(ValueError, match="15 bytes"):
        nvs.partition(0x4000, "a name too long for it", {"key": bytes(16)})


@pytest.mark.parametrize("board", load_all(build.ROOT / "boards"), ids=lambda board: board.board.id)
def test_every_board_has_a_table_that_the_boot_loader_reads(board: object) -> None:
    from felinar_build.board import Board

    assert isinstance(board, Board)
    data = parts.table(board.partitions)
    flash = NorFlash(board.board.flash_mb << 20, seed=0)
    flash.place(parts.AT, data)
    assert [(p.name, p.offset, p.size) for p in readers.partitions(flash)] == [
        (p.name, p.offset, p.size) for p in board.partitions
    ]
    assert [p.name for p in parts.read(data)] == [p.name for p in board.partitions]
    assert sum(p.app for p in parts.read(data)) == 2


def test_the_chip_starts_it_and_finds_its_key(image: images.Image) -> None:
    flash = flashed(image)
    table, slot = readers.bootable(flash, KINDS["esp32"])
    assert slot.name == "ota_0"
    places = {p.name: p for p in table}
    assert FlashNvs(flash, places["nvs"].offset, places["nvs"].size).items() == {"felinar/key": KEY}
    for name in ("otadata", "outbox", "config"):
        assert set(flash.read(places[name].offset, places[name].size)) == {0xFF}
    assert KEY.hex() not in repr(image)
    assert str(KEY) not in repr(image)


def test_the_boot_loader_has_its_flash_size_and_a_right_hash(
    image: images.Image, firmware: Path, tmp_path: Path
) -> None:
    loaded = firmwares.load(firmware)
    for size, code in ((4, 2), (8, 3), (16, 4)):
        path = tmp_path / f"{size}.bin"
        path.write_bytes(firmwares.sized(loaded.boot, size))
        read = LoadFirmwareImage("esp32", str(path))
        assert read.flash_size_freq >> 4 == code
        assert read.checksum == read.calculate_checksum()
        assert read.stored_digest == read.calc_digest
    assert firmwares.program(firmwares.sized(loaded.boot, 8))


MOUNT = """
import hashlib, io, os, sys, vfs

class Flash:
    def __init__(self, name, size):
        self.file, self.size = io.open(name, "r+b"), size
    def readblocks(self, block, data, at=0):
        self.file.seek(block * 4096 + at)
        self.file.readinto(data)
    def writeblocks(self, block, data, at=None):
        self.file.seek(block * 4096 + (at or 0))
        self.file.write(data)
    def ioctl(self, what, _):
        return {4: self.size // 4096, 5: 4096, 6: 0}.get(what)

def walk(folder):
    for entry in os.ilistdir(folder):
        path = folder + "/" + entry[0]
        if entry[1] == 0x4000:
            walk(path)
        else:
            with open(path, "rb") as file:
                print(path[5:], hashlib.sha256(file.read()).digest().hex())

vfs.mount(Flash(NAME, SIZE), "/vfs")
walk("/vfs")
with open("/vfs/node/app.mpy", "rb") as file:
    whole = len(file.read())
with open("/vfs/new.txt", "w") as file:
    file.write("a" * 9000)
print("new.txt", os.stat("/vfs/new.txt")[6])
"""


def test_micropython_mounts_the_file_system(image: images.Image, tmp_path: Path) -> None:
    place = next(p for p in image.partitions if p.name == "vfs")
    at, data = image.segments[-1]
    file = tmp_path / "vfs.bin"
    file.write_bytes(data[place.offset - at :].ljust(place.size, b"\xff"))
    told = run(MOUNT.replace("NAME", repr(str(file))).replace("SIZE", str(place.size)))
    assert "new.txt 9000" in told
    found = dict(line.split() for line in told.splitlines())
    del found["new.txt"]
    files = {**images.application(image.board), "config.json": json.dumps(CONFIG, separators=(",", ":")).encode()}
    assert found == {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    assert {"main.py", "board.json", "config.json", "node/app.mpy", "drivers/bh1750.mpy"} <= set(found)


def test_one_image_is_the_same_twice_and_another_key_makes_another(image: images.Image, firmware: Path) -> None:
    again = images.build(image.board, CONFIG, KEY, firmwares.load(firmware))
    assert again.sha256 == image.sha256
    assert images.build(image.board, CONFIG, bytes(16), firmware).sha256 != image.sha256
    assert all(at % 4096 == 0 and len(data) % 4 == 0 for at, data in image.segments)
    assert len(image.segments) <= 3


def test_what_can_not_be_is_refused_with_its_code(image: images.Image, firmware: Path, tmp_path: Path) -> None:
    def code(config: dict[str, object] = CONFIG, board: str = image.board, file: Path = firmware) -> str:
        with pytest.raises(FlashError) as error:
            images.build(board, config, KEY, file)
        return error.value.code

    assert code({"name": "x"}) == code({**CONFIG, "address": 0}) == code({**CONFIG, "address": True}) == "config"
    assert code({**CONFIG, "name": "x" * 5000}) == code({**CONFIG, "lat": float("nan")}) == "config"
    assert code(board="nothing") == "board-unknown"
    assert code(board="heltec_v3") == "firmware-chip"
    assert code(file=tmp_path / "none.bin") == "firmware-missing"
    data = firmware.read_bytes()
    for at, spoilt in enumerate((b"", b"text", data[: len(data) // 2], data[:0x20000], bytes(100) + data)):
        path = tmp_path / f"{at}.bin"
        path.write_bytes(spoilt)
        assert code(file=path) == "firmware-unsound", at
    changed = bytearray(data)
    changed[0x20000] ^= 1
    path = tmp_path / "changed.bin"
    path.write_bytes(changed)
    assert code(file=path) == "firmware-unsound"
    with pytest.raises(ValueError, match="16 bytes"):
        images.build(image.board, CONFIG, KEY[:8], firmware)


@pytest.mark.parametrize(
    ("board", "chip", "code"),
    [
        ("sim", chips.Chip("esp32s3", "0" * 12, 8), "wrong-chip"),
        ("sim", chips.Chip("esp32", "0" * 12, 2), "wrong-flash"),
        ("heltec_v3", chips.Chip("esp32s3", "0" * 12, 8, psram_mb=8), "wrong-psram"),
        ("xiao_s3_wio", chips.Chip("esp32s3", "0" * 12, 8, psram_mb=0), "wrong-psram"),
        ("sim", chips.Chip("esp32", "0" * 12, 4, locked="secure boot"), "locked-chip"),
        ("sim", chips.Chip("esp32", "0" * 12, 16), ""),
        ("xiao_s3_wio", chips.Chip("esp32s3", "0" * 12, 8, psram_mb=8), ""),
    ],
)
def test_the_wrong_board_file_is_refused_with_a_sentence(board: str, chip: chips.Chip, code: str) -> None:
    if not code:
        chips.require(images.board(board), chip)
        return
    with pytest.raises(FlashError) as error:
        chips.require(images.board(board), chip)
    assert error.value.code == code
    assert code == "locked-chip" or board in error.value.sentence


def files_of(image: images.Image) -> dict[str, bytes]:
    """What is in an image's file system, by path."""
    place = next(p for p in image.partitions if p.name == "vfs")
    at, data = image.segments[-1]
    content = bytearray(data[place.offset - at :].ljust(place.size, b"\xff"))
    system = LittleFS(
        context=UserContext(buffer=content), block_size=4096, block_count=place.size // 4096, mount=True
    )  # fmt: skip
    found = {}
    for folder, _, names in system.walk("/"):
        for name in names:
            with system.open(f"{folder.rstrip('/')}/{name}", "rb") as file:
                found[f"{folder.rstrip('/')}/{name}".lstrip("/")] = file.read()
    return found


def test_a_radio_node_speaks_through_its_cable_until_its_last_file(firmware: Path, tmp_path: Path) -> None:
    image = images.build(quick_radio_board(tmp_path), CONFIG, KEY, firmware, "radio")
    files = files_of(image)
    assert {"node/uplink.mpy", "node/prove.mpy", "node/radio.mpy", "node/radio_link.mpy", "drivers/sx126x.mpy"} <= set(
        files
    )
    path, content = image.last
    now, then = json.loads(files["board.json"]), json.loads(content)
    assert (image.kind, path, now["line"], then["line"]) == (
        "radio",
        "/board.json",
        {"type": "console"},
        {"type": "radio"},
    )
    assert {**now, "line": 0} == {**then, "line": 0}
    wired = images.build(image.board, CONFIG, KEY, firmware)
    assert (wired.kind, wired.last) == ("wired", ("", b""))
    assert "node/radio.mpy" not in files_of(wired)


@pytest.mark.parametrize(
    ("board", "line", "kind"),
    [
        ("sim_radio", "", "radio"),
        ("sim_radio", "wired", "wired"),
        ("heltec_v3", "", "wired"),
        ("heltec_v3", "radio", "radio"),
        ("sim", "", "wired"),
        ("sim", "radio", "no-radio"),
        ("sim", "air", "config"),
    ],
)
def test_the_line_is_what_was_asked_for_else_what_the_board_file_says(board: str, line: str, kind: str) -> None:
    if kind in images.LINES:
        assert images.line_of(images.board(board), line) == kind
        return
    with pytest.raises(FlashError) as error:
        images.line_of(images.board(board), line)
    assert error.value.code == kind


def test_a_bridge_gets_neither_key_nor_node_and_starts_when_it_is_finished(tmp_path: Path) -> None:
    # Of a real board with the smallest flash.
    image = images.build_bridge("devkitc_rfm95", firmware_file(tmp_path, "esp32", 4))
    files = files_of(image)
    assert {"bridge/app.mpy", "felinar_air/modem.mpy", "drivers/sx127x.mpy", "board.json"} <= set(files)
    assert not {"main.py", "config.json", "node/app.mpy"} & set(files)
    assert (image.kind, image.address, image.key, image.last[0]) == ("bridge", 0, b"", "/main.py")
    assert b"bridge" in image.last[1]
    nvs_at = next(p for p in image.partitions if p.name == "nvs")
    assert FlashNvs(flashed(image), nvs_at.offset, nvs_at.size).items() == {}
    with pytest.raises(FlashError) as error:
        images.build_bridge("sim", firmware_file(tmp_path))
    assert error.value.code == "no-radio"
