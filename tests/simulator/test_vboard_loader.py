"""The virtual chip's boot ROM and stub, byte by byte, and what it checks before it starts from flash."""

from __future__ import annotations

import hashlib
import struct
import zlib
from pathlib import Path

import pytest
from felinar_sim.errors import SimulatorError
from felinar_sim.flash import PowerLost, partition_table
from felinar_sim.vboard import faults, image, loader, nvs
from felinar_sim.vboard.chips import ESP32, ESP32S3, Kind, Registers
from felinar_sim.vboard.circuit import Act, Circuit
from felinar_sim.vboard.nor import NorFlash

MAC = bytes.fromhex("02aabbcc0001")
SYNC = b"\x07\x07\x12\x20" + 32 * b"\x55"


class Bench:
    """A loader and the frames it has sent."""

    def __init__(self, kind: Kind = ESP32, mb: int = 1) -> None:
        self.flash = NorFlash(mb << 20)
        self.out = b""
        self.loader = loader.Loader(Registers(kind, MAC, self.flash), self.flash, self._send)

    def _send(self, data: bytes) -> None:
        self.out += data

    def frames(self) -> list[bytes]:
        frames, self.out = [f for f in self.out.split(b"\xc0") if f], b""
        return [f.replace(b"\xdb\xdc", b"\xc0").replace(b"\xdb\xdd", b"\xdb") for f in frames]

    def feed(self, op: int, data: bytes = b"", checksum: int = 0) -> list[bytes]:
        packet = struct.pack("<BBHI", 0, op, len(data), checksum) + data
        self.loader.feed(b"\xc0" + packet.replace(b"\xdb", b"\xdb\xdd").replace(b"\xc0", b"\xdb\xdc") + b"\xc0")
        return self.frames()

    def ask(self, op: int, data: bytes = b"", checksum: int = 0) -> tuple[int, bytes]:
        """(value, body with status) of the only answer."""
        (frame,) = self.feed(op, data, checksum)
        assert frame[:2] == bytes((1, op))
        assert int.from_bytes(frame[2:4], "little") == len(frame) - 8
        return int.from_bytes(frame[4:8], "little"), frame[8:]

    def block(self, op: int, seq: int, data: bytes) -> bytes:
        checksum = 0xEF
        for byte in data:
            checksum ^= byte
        return self.ask(op, struct.pack("<4I", len(data), seq, 0, 0) + data, checksum)[1]

    def stub(self) -> Bench:
        code = bytes(range(256)) * 5
        self.ask(loader.MEM_BEGIN, struct.pack("<4I", len(code), 1, 0x1800, 0x40090000))
        assert self.block(loader.MEM_DATA, 0, code) == bytes(4)
        answer, hello = self.feed(loader.MEM_END, struct.pack("<2I", 0, 0x40090010))
        assert answer[8:] == bytes(4)
        assert hello == b"OHAI"
        return self


def test_sync_is_answered_eight_times_as_rom_and_as_stub() -> None:
    bench = Bench()
    frames = bench.feed(loader.SYNC, SYNC)
    assert len(frames) == 8
    assert {f[4:8] for f in frames} == {bytes.fromhex("07071220")}
    assert {f[4:8] for f in bench.stub().feed(loader.SYNC, SYNC)} == {bytes(4)}


def test_a_frame_may_come_in_pieces_and_among_noise() -> None:
    bench = Bench()
    packet = b"\xc0" + struct.pack("<BBHII", 0, loader.READ_REG, 4, 0, 0x40001000) + b"\xc0"
    bench.loader.feed(b"noise" + packet[:5])
    assert bench.frames() == []
    bench.loader.feed(packet[5:])
    (frame,) = bench.frames()
    assert frame[4:8] == struct.pack("<I", 0x00F01D83)
    assert bench.loader.noise == 5


def test_an_endless_frame_is_noise() -> None:
    bench = Bench()
    bench.loader.feed(b"\xc0" + b"a" * 70_000)
    bench.loader.feed(b"\xc0")
    bench.loader.feed(b"\xc0")
    assert bench.frames() == []
    assert len(bench.feed(loader.SYNC, SYNC)) == 8


@pytest.mark.parametrize(("kind", "known"), [(ESP32, False), (ESP32S3, True)])
def test_only_newer_chips_tell_their_id(kind: Kind, known: bool) -> None:
    _, body = Bench(kind).ask(loader.SECURITY_INFO)
    assert (body[:2] == b"\x01\x05") is not known
    if known:
        assert int.from_bytes(body[12:16], "little") == 9
        assert len(body) == 24


def test_mac_and_flash_size_are_read_through_registers() -> None:
    bench = Bench(ESP32S3, mb=8)

    def read(at: int) -> int:
        return bench.ask(loader.READ_REG, struct.pack("<I", at))[0]

    def write(at: int, value: int) -> None:
        assert bench.ask(loader.WRITE_REG, struct.pack("<4I", at, value, 0xFFFFFFFF, 0))[1] == bytes(4)

    assert read(0x60007048).to_bytes(2, "big") + read(0x60007044).to_bytes(4, "big") == MAC
    write(0x60007044, 0)
    assert read(0x60007044) == int.from_bytes(MAC[2:], "big"), "fuses cannot be written so"
    base = 0x60002000
    write(base + 0x28, 23)
    write(base + 0x20, 7 << 28 | 0x9F)
    write(base, 1 << 18)
    assert read(base) & 1 << 18 == 0
    assert read(base + 0x58) == 0x1740EF  # Winbond, 2^23 bytes


def test_a_wrong_checksum_and_a_wrong_length_are_refused_and_nothing_is_written() -> None:
    bench = Bench().stub()
    bench.ask(loader.FLASH_BEGIN, struct.pack("<5I", 64, 1, 64, 0, 0))
    data = struct.pack("<4I", 64, 0, 0, 0) + bytes(64)
    assert bench.ask(loader.FLASH_DATA, data, 0)[1] == b"\xc1\0"
    assert bench.ask(loader.FLASH_DATA, data[:-1], 0xEF)[1] == b"\xc0\0"
    assert bench.flash.read(0, 64) == b"\xff" * 64
    assert bench.ask(loader.DEFL_END, struct.pack("<I", 1))[1] == b"\xc8\0"


def test_deflated_data_is_erased_for_written_and_summed_as_the_stub_does() -> None:
    bench = Bench().stub()
    old = b"\0" * 4096
    bench.flash.place(0x3000, old)
    bench.flash.place(0x5000, old)
    data = bytes(range(250)) * 20  # two blocks, the second one in part
    packed = zlib.compress(data, 9)
    bench.ask(loader.DEFL_BEGIN, struct.pack("<5I", len(data), 2, 16, 0x3000, 0))
    half = len(packed) // 2
    assert bench.block(loader.DEFL_DATA, 0, packed[:half]) == bytes(2)
    assert bench.block(loader.DEFL_DATA, 1, packed[half:]) == bytes(2)
    assert bench.ask(loader.DEFL_END, struct.pack("<I", 1))[1] == bytes(2)
    assert bench.flash.read(0x3000, len(data)) == data
    assert bench.flash.read(0x3000 + len(data), 100) == b"\xff" * 100
    assert bench.flash.read(0x5000, 4096) == old
    digest = bench.ask(loader.FLASH_MD5, struct.pack("<4I", 0x3000, len(data), 0, 0))[1]
    assert digest == hashlib.md5(data).digest() + bytes(2)


def test_what_the_stub_refuses() -> None:
    bench = Bench().stub()
    assert bench.block(loader.DEFL_DATA, 0, b"x") == b"\xc6\0"
    assert bench.ask(loader.DEFL_BEGIN, struct.pack("<5I", 8192, 1, 64, (1 << 20) - 4096, 0))[1] == b"\xc4\0"
    bench.ask(loader.DEFL_BEGIN, struct.pack("<5I", 100, 1, 64, 0, 0))
    assert bench.block(loader.DEFL_DATA, 0, b"no deflate") == b"\xc7\0"
    bench.ask(loader.DEFL_BEGIN, struct.pack("<5I", 100, 1, 64, 0, 0))
    assert bench.block(loader.DEFL_DATA, 0, zlib.compress(bytes(200))) == b"\xc9\0"
    assert bench.ask(0x77)[1] == b"\xff\0"
    assert bench.ask(loader.ERASE_REGION, struct.pack("<2I", 100, 4096))[1] == b"\xc2\0"


def test_the_rom_cannot_do_what_only_the_stub_can() -> None:
    bench = Bench()
    for op in (loader.ERASE_FLASH, loader.ERASE_REGION, loader.READ_FLASH):
        assert bench.ask(op, bytes(16))[1] == b"\x01\x05\0\0"
    bench.flash.place(64, b"felinar!")
    assert bench.ask(loader.READ_FLASH_SLOW, struct.pack("<2I", 64, 8))[1] == b"felinar!" + bytes(56 + 4)


def test_a_region_is_read_in_blocks_as_they_are_acknowledged() -> None:
    bench = Bench().stub()
    data = hashlib.sha512(b"x").digest() * 160  # 10240 bytes: two blocks and a half
    bench.flash.place(0, data)
    frames = bench.feed(loader.READ_FLASH, struct.pack("<4I", 0, len(data), 4096, 2))
    assert frames[1:] == [data[:4096], data[4096:8192]]
    bench.loader.feed(b"\xc0" + struct.pack("<I", 4096) + b"\xc0")
    assert bench.frames() == [data[8192:]]
    bench.loader.feed(b"\xc0" + struct.pack("<I", len(data)) + b"\xc0")
    assert bench.frames() == [hashlib.md5(data).digest()]


def test_power_lost_in_the_middle_of_a_write_leaves_what_was_written() -> None:
    bench = Bench().stub()
    bench.ask(loader.FLASH_BEGIN, struct.pack("<5I", 12288, 3, 4096, 0, 0))
    bench.flash.fuse.cut_after(3)  # erase, program, erase
    with pytest.raises(PowerLost):
        bench.block(loader.FLASH_DATA, 0, b"\x12" * 12288)
    assert bench.flash.read(0, 4096) in (b"\x12" * 4096, b"\xff" * 4096)
    assert bench.flash.read(8192, 4096) == b"\xff" * 4096


def test_a_bad_block_does_not_keep_what_is_written() -> None:
    bench = Bench().stub()
    bench.flash.bad = {1}
    bench.ask(loader.FLASH_BEGIN, struct.pack("<5I", 8192, 2, 4096, 0, 0))
    bench.block(loader.FLASH_DATA, 0, b"\x12" * 8192)
    assert bench.flash.read(0, 4096) == b"\x12" * 4096
    assert bench.flash.read(4096, 4096) != b"\x12" * 4096


# The lines


def walk(circuit: Circuit, *lines: tuple[int, int]) -> list[Act]:
    return [circuit.change(bool(dtr), bool(rts)) for dtr, rts in lines]


def test_the_classic_sequence_leads_to_download_and_a_pulse_of_rts_to_run() -> None:
    circuit = Circuit()
    assert walk(circuit, (1, 0), (1, 1)) == [Act.NONE, Act.NONE], "opening a port resets nothing"
    assert walk(circuit, (0, 1), (1, 1), (1, 0), (0, 0)) == [Act.HOLD, Act.CHARGING, Act.DOWNLOAD, Act.NONE]
    assert walk(circuit, (0, 1), (0, 0)) == [Act.HOLD, Act.RUN]
    assert walk(circuit, (0, 1), (1, 1)) == [Act.HOLD, Act.CHARGING]
    assert circuit.settled() is Act.RUN
    assert circuit.settled() is Act.NONE


def test_the_sequence_for_the_chips_own_usb() -> None:
    circuit = Circuit(usb=True)
    assert walk(circuit, (1, 0), (1, 1), (0, 1), (0, 0)) == [Act.NONE, Act.NONE, Act.HOLD, Act.DOWNLOAD]
    assert walk(circuit, (0, 1), (0, 0)) == [Act.HOLD, Act.RUN]


# What lies in flash


def test_a_firmware_boots_and_each_damage_is_told() -> None:
    for kind in (ESP32, ESP32S3):
        flash = NorFlash(4 << 20)
        with pytest.raises(image.NotBootable, match="invalid header: 0xffffffff"):
            image.bootable(flash, kind)
        flash.place(kind.boot_offset, image.firmware(kind, 4, app_bytes=50_000))
        table, app = image.bootable(flash, kind)
        assert (app.name, app.offset) == ("factory", 0x10000)
        assert [p.name for p in table] == ["nvs", "phy_init", "factory", "vfs"]
    other = NorFlash(1 << 20)
    other.place(0x1000, flash.read(0, 0x7000))
    with pytest.raises(image.NotBootable, match="mismatch chip ID, expected 0, found 9"):
        image.bootable(other, ESP32)
    flash.place(0x10100, b"\0")
    with pytest.raises(image.NotBootable, match=r"Checksum failed.*\r\n.*No bootable app"):
        image.bootable(flash, ESP32S3)
    flash.place(0x8000, b"\xff" * 4096)
    with pytest.raises(image.NotBootable, match="Failed to verify partition table"):
        image.bootable(flash, ESP32S3)


def test_otadata_chooses_the_slot_and_a_broken_slot_gives_way() -> None:
    flash = NorFlash(4 << 20)
    rows = [
        {"name": "otadata", "type": "data", "subtype": "ota", "offset": 0xD000, "size": 0x2000},
        {"name": "ota_0", "type": "app", "subtype": "ota_0", "offset": 0x10000, "size": 0x80000},
        {"name": "ota_1", "type": "app", "subtype": "ota_1", "offset": 0x90000, "size": 0x80000},
    ]
    app = image.app_image(ESP32, b"felinar" * 100)
    flash.place(0x1000, app)
    flash.place(0x8000, partition_table(rows))  # type: ignore[arg-type]
    flash.place(0x10000, app)
    flash.place(0x90000, app)
    assert image.bootable(flash, ESP32)[1].name == "ota_0"
    seq = struct.pack("<I", 2)
    flash.place(0xE000, seq + b"\xff" * 24 + struct.pack("<I", zlib.crc32(seq, 0xFFFFFFFF)))
    assert image.bootable(flash, ESP32)[1].name == "ota_1"
    flash.place(0x90020, b"X")
    assert image.bootable(flash, ESP32)[1].name == "ota_0"


def test_nvs_of_espressifs_generator_is_read(tmp_path: Path) -> None:
    from esp_idf_nvs_partition_gen import nvs_partition_gen

    blob = bytes(range(256)) * 20  # more than a page holds
    (tmp_path / "blob").write_bytes(blob)
    (tmp_path / "in.csv").write_text(
        "key,type,encoding,value\nfelinar,namespace,,\ncounter,data,i32,-7\n"
        "key,data,hex2bin,00112233445566778899aabbccddeeff\n"
        f"big,file,binary,{tmp_path / 'blob'}\nother,namespace,,\nssid,data,string,street\nsmall,data,u8,9\n"
    )
    nvs_partition_gen.generate(
        type("Args", (), {
            "input": str(tmp_path / "in.csv"), "output": str(tmp_path / "out.bin"), "size": "0x6000", "version": 2, "outdir": str(tmp_path),
        })()
    )  # fmt: skip
    made = (tmp_path / "out.bin").read_bytes()
    values = nvs.parse(made)
    assert values["felinar", "counter"] == (0x14, struct.pack("<i", -7))
    assert values["felinar", "key"] == (0x42, bytes.fromhex("00112233445566778899aabbccddeeff"))
    assert values["felinar", "big"][1] == blob
    assert values["other", "ssid"] == (0x21, b"street\0")
    assert values["other", "small"] == (0x01, b"\x09")
    assert nvs.parse(nvs.build(values, 0x6000)) == values
    damaged = bytearray(made)
    damaged[64 + 32 + 24] ^= 1  # the first entry behind the namespace
    assert ("felinar", "counter") not in nvs.parse(bytes(damaged))


def test_what_the_program_stores_is_in_the_partition_and_other_kinds_stay() -> None:
    flash = NorFlash(1 << 20)
    flash.place(0x9000, nvs.build({("other", "small"): (1, b"\x09")}, 0x4000))
    store = nvs.FlashNvs(flash, 0x9000, 0x4000)
    store.set("felinar", "boots", 1, struct.pack("<i", 3))
    flash.fuse.cut_after(0)
    with pytest.raises(PowerLost):
        store.set("felinar", "boots", 1, struct.pack("<i", 4))
    again = nvs.FlashNvs(flash, 0x9000, 0x4000)
    assert again.get("felinar", "boots", 1) == struct.pack("<i", 3)
    assert nvs.parse(flash.read(0x9000, 0x4000))["other", "small"] == (1, b"\x09")
    with pytest.raises(SimulatorError, match="full"):
        again.set("felinar", "long", 2, bytes(12_000))


def test_an_image_file_is_the_flash_to_the_byte(tmp_path: Path) -> None:
    path = tmp_path / "flash.bin"
    path.write_bytes(b"abc")
    flash = NorFlash(1 << 20, path=path)
    assert flash.read(0, 5) == b"abc\xff\xff"
    flash.erase(0)
    flash.program(4090, b"over a border")
    flash.close()
    stored = path.read_bytes()
    assert len(stored) == 1 << 20
    assert stored[4090:4103] == b"over a border"
    assert stored.count(0xFF) == len(stored) - 13
    with pytest.raises(SimulatorError, match="has 1048576 bytes, the flash only 4096"):
        NorFlash(4096, path=path)


@pytest.mark.parametrize("text", ["", "dropout", "dropout:x", "bad-block:-1", "no-sync:1", "fire"])
def test_an_unknown_fault_is_refused(text: str) -> None:
    with pytest.raises(SimulatorError, match="there are no-sync"):
        faults.parse([text])
