"""Board files: sound ones pass, each impossible one is refused with one sentence that names the fault."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from felinar_build import board, checks, readme, signals, wiring
from felinar_build.chips import CHIPS
from hypothesis import given
from hypothesis import strategies as st

BOARDS = Path(__file__).resolve().parents[2] / "boards"
FILES = sorted(BOARDS.glob("*/board.toml"))
SIM = (BOARDS / "sim" / "board.toml").read_text()

# The pins of each chip as the GPIO summaries of the ESP-IDF programming guide list them (v5.4).
ABSENT = {"esp32": {20, 24, *range(28, 32), 40}, "esp32s3": {22, 23, 24, 25, 49}, "esp32c3": {22}, "esp32c6": {31}}
FLASH = {"esp32": range(6, 12), "esp32s3": range(26, 33), "esp32c3": range(12, 18), "esp32c6": range(24, 31)}
USB = {"esp32": (), "esp32s3": (19, 20), "esp32c3": (18, 19), "esp32c6": (12, 13)}
CONSOLE = {"esp32": (1, 3), "esp32s3": (43, 44), "esp32c3": (20, 21), "esp32c6": (16, 17)}
STRAPPING = {"esp32": (0, 2, 5, 12, 15), "esp32s3": (0, 3, 45, 46), "esp32c3": (2, 8, 9), "esp32c6": (4, 5, 8, 9, 15)}
INPUT_ONLY = {"esp32": range(34, 40), "esp32s3": (), "esp32c3": (), "esp32c6": ()}


def made(chip: str, pins: dict[str, dict[str, Any]], **about: Any) -> board.Board:
    """A board with these pins and nothing else that could be wrong; `taken` is the board's, the rest [board]'s."""
    taken = about.pop("taken", {})
    content = {
        "board": {
            "id": "sim", "name": "n", "maker": "m", "chip": chip, "arch": CHIPS[chip].arch, "flash_mb": 4, "psram_mb": 0,
            "line": {"type": "console"}, "console": "usb", **about,
        },
        "pins": {name: {"source": "simulator", **pin} for name, pin in pins.items()},
        "taken": taken,
        "partitions": tomllib.loads(board.LAYOUTS.read_text())["layouts"]["4"],
    }  # fmt: skip
    return msgspec.convert(content, board.Board, str_keys=True)


def faults(chip: str, name: str, pin: dict[str, Any], **about: Any) -> list[str]:
    """What is wrong with one pin."""
    return [fault for fault in checks.faults(made(chip, {name: pin}, **about)) if fault.startswith("pin ")]


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.parent.name)
def test_every_board_file_is_sound(path: Path) -> None:
    loaded = board.load(path)
    assert loaded.board.id == path.parent.name
    content = json.loads(board.node_json(loaded))
    assert {entry["driver"] for entry in content["fitted"]} == {entry.driver for entry in loaded.fitted}
    assert content["pins"]["relay"] == loaded.pins["relay"].gpio
    assert set(content) <= {"id", "pins", "relay_normally_closed", "line", "fitted", "radio"}
    if loaded.board.id not in ("sim", "sim_radio"):
        assert loaded.radio is not None
        assert loaded.sources
        assert all(re.search(r" @ [0-9a-f]{12}|schematic ", citation) for citation in loaded.sources.values())


def test_the_boards_of_the_reference_are_there() -> None:
    radios = {
        b.board.id: (b.board.chip, b.radio.chip)
        for b in board.load_all(BOARDS)
        if b.radio and b.board.id != "sim_radio"
    }
    assert radios == {
        "heltec_v3": ("esp32s3", "sx1262"),
        "lilygo_tbeam_sx1276": ("esp32", "sx1276"),
        "lilygo_tbeam_sx1262": ("esp32", "sx1262"),
        "lilygo_t3_v161": ("esp32", "sx1276"),
        "lilygo_t3_s3": ("esp32s3", "sx1262"),
        "xiao_s3_wio": ("esp32s3", "sx1262"),
        "rak3312": ("esp32s3", "sx1262"),
        "devkitc_rfm95": ("esp32", "sx1276"),
    }


# Chips


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("signal", ["i2s0_sd", "i2s0_sck", "relay"])
def test_each_gpio_of_each_chip_is_judged(chip: str, signal: str) -> None:
    output = signal != "i2s0_sd"
    for gpio in range(-1, 60):
        found = faults(chip, signal, {"gpio": gpio}, console="uart0")
        if gpio < 0 or gpio in ABSENT[chip] or gpio > max(CHIPS[chip].gpios):
            expected = "has no GPIO"
        elif gpio in FLASH[chip]:
            expected = "belongs to the flash"
        elif gpio in USB[chip]:
            expected = "belongs to USB"
        elif output and gpio in INPUT_ONLY[chip]:
            expected = "is input only"
        elif gpio in CONSOLE[chip]:
            expected = "belongs to the console"
        elif gpio in STRAPPING[chip]:
            expected = "strapping pin"
        else:
            assert not found, found
            continue
        assert len(found) == 1
        assert expected in found[0]
        assert f"GPIO {gpio}" in found[0]


def test_octal_psram_takes_pins_of_the_s3() -> None:
    for gpio in range(33, 38):
        assert "octal PSRAM" in faults("esp32s3", "dim", {"gpio": gpio}, psram_mb=8, psram_octal=True)[0]
        assert not faults("esp32s3", "dim", {"gpio": gpio}, psram_mb=2)
    assert not faults("esp32s3", "dim", {"gpio": 38}, psram_mb=8, psram_octal=True)


def test_psram_takes_pins_of_the_esp32() -> None:
    for gpio in (16, 17):
        assert "belongs to the PSRAM" in faults("esp32", "dim", {"gpio": gpio}, psram_mb=8)[0]
        assert not faults("esp32", "dim", {"gpio": gpio})


def test_a_strapping_pin_needs_a_reason_and_never_carries_the_relay() -> None:
    why = {"strapping": "an input that pulls nothing"}
    assert "say in `strapping`" in faults("esp32", "dim", {"gpio": 15})[0]
    assert "say in `strapping`" in faults("esp32", "dim", {"gpio": 15, "strapping": " "})[0]
    assert not faults("esp32", "dim", {"gpio": 15, **why})
    assert "the relay would move" in faults("esp32", "relay", {"gpio": 15, **why})[0]
    assert "is not a strapping pin" in faults("esp32", "dim", {"gpio": 25, **why})[0]


def test_what_decides_whether_a_chip_starts_is_the_makers_alone() -> None:
    why = {"strapping": "low at reset"}
    ours = {"ours": "the last one", "at": "J1"}
    for chip, gpio in (("esp32", 0), ("esp32", 12), ("esp32s3", 0), ("esp32s3", 45), ("esp32c3", 9), ("esp32c6", 9)):
        assert "no wiring of ours" in faults(chip, "dim", {"gpio": gpio, **why, **ours})[0]
        assert not faults(chip, "led", {"gpio": gpio, **why})


def test_uart_0_speaks_at_reset_even_with_the_console_on_usb() -> None:
    assert "sends the boot log" in faults("esp32s3", "power_cf", {"gpio": 43})[0]
    assert "the relay would move" in faults("esp32s3", "relay", {"gpio": 43})[0]
    assert "the relay would move" in faults("esp32s3", "relay", {"gpio": 44})[0]
    assert not faults("esp32s3", "i2s0_sd", {"gpio": 44})
    assert not faults("esp32s3", "dim", {"gpio": 43})


def test_what_the_board_uses_itself_is_not_free() -> None:
    assert "is taken on this board: reset of the display" in faults("esp32", "dim", {"gpio": 25}, taken={"25": "reset of the display"})[0]  # fmt: skip


@given(
    chip=st.sampled_from(sorted(CHIPS)),
    names=st.lists(st.sampled_from(["relay", "dim", "led", "power_cf", "i2c0_sda", "i2s0_sd", "uart1_rx", "rely"]), unique=True),
    gpios=st.lists(st.integers(-5, 70), min_size=8, max_size=8),
    octal=st.booleans(),
    strapping=st.none() | st.text(max_size=5),
    ours=st.none() | st.text(max_size=5),
    console=st.sampled_from(["usb", "uart0"]),
)  # fmt: skip
def test_a_fault_is_one_line_that_names_the_pin(
    chip: str, names: list[str], gpios: list[int], octal: bool, strapping: str | None, ours: str | None, console: str
) -> None:
    pins = {
        name: {"gpio": gpio, "strapping": strapping, "ours": ours} for name, gpio in zip(names, gpios, strict=False)
    }
    found = checks.faults(made(chip, pins, psram_octal=octal, psram_mb=8, console=console))
    assert all(re.fullmatch(r"(pins?|there is no pin) \w.*", fault) for fault in found)
    assert all("\n" not in fault for fault in found)
    mine = [fault for fault in found if fault.startswith("pin ")]
    assert all(fault.split(":")[0].removeprefix("pin ") in names for fault in mine)
    twice = len(gpios[: len(names)]) != len(set(gpios[: len(names)]))
    assert not twice or any("on GPIO" in fault or "there is no such signal" in fault for fault in found)


# Whole files


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("gpio = 25,", "gpio = 36,", "GPIO 36 of the esp32 is input only"),
        ("gpio = 25,", "gpio = 8,", "belongs to the flash"),
        ("gpio = 25,", "gpio = 24,", "has no GPIO 24"),
        ("gpio = 25,", "gpio = 1,", "belongs to the console"),
        ("gpio = 25,", "gpio = 12,", "strapping pin"),
        ("gpio = 25,", "gpio = 26,", "both on GPIO 26"),
        ("relay = {", "rely = {", "pin rely: there is no such signal"),
        ("gpio = 25,", 'gpio = 25, ours = "near",', "must say why this pin"),
        ('relay = { gpio = 25, source = "simulator" }', "", "there is no pin relay"),
        ('chip = "esp32"', 'chip = "esp8266"', "unknown chip 'esp8266'"),
        ('arch = "x64"', 'arch = "rv32imc"', "does not fit a esp32"),
        ('id = "sim"', 'id = "other"', "only the simulated board has its pins from the simulator"),
        ('25, source = "simulator"', '25, source = "hearsay"', "source 'hearsay' is none of"),
        ('25, source = "simulator"', '25, source = "unverified"', ""),
        ("[pins]", '[sources]\nweb = "a page somewhere"\n[pins]', "is neither"),
        ("[pins]", '[sources]\nweb = "owner/repo a/path.h @ 0123456"\n[pins]', "is neither"),
        ("[pins]", '[sources]\nweb = "owner/repo a/path.h @ 0123456789ab"\n[pins]', "no pin refers to it"),
        ("[pins]", '[radio]\nchip = "sx1262"\n[pins]', "there is no pin radio_sck"),
        ("[pins]", '[radio]\nchip = "cc1101"\n[pins]', "unknown radio 'cc1101'"),
        ('bus = "i2s0"', 'bus = "i2s7"', "there is no pin i2s7_sck"),
        ('bus = "i2s0"', 'bus = "can0"', "is none of i2c, i2s, uart"),
        ("power_sel = {", "led = {", "fitted bl0937: there is no pin power_sel"),
        ("address = 0x69", "address = 0x23", "share address 0x23"),
        ("counter = 0", 'counter = 0\npins = ["power_cf", "nowhere", "power_sel"]', "no pin nowhere"),
        ("counter = 0", "counter = 0\ngain = 0", "> 0.0"),
        ("rate = 48000", "rate = 48000\nperiod_ms = 1", ">= 100"),
        ("flash_mb = 4", 'flash_mb = "four"', "Expected `int`"),
        ("flash_mb = 4", "flash_mb = 4\nflash = 4", "unknown field `flash`"),
        ("flash_mb = 4", "flash_mb = 2", "there is no partition nvs"),
        ("psram_mb = 0", 'psram_mb = 0\nconsole = "wifi"', "Invalid enum value 'wifi'"),
        ("[board]", "[board", "Expected"),
    ],
)
def test_an_impossible_board_is_refused(tmp_path: Path, old: str, new: str, fault: str) -> None:
    assert old in SIM
    path = tmp_path / "board.toml"
    path.write_text(SIM.replace(old, new, 1))
    if not fault:
        board.load(path)
        return
    with pytest.raises(board.BoardError) as caught:
        board.load(path)
    assert fault in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_whatever_a_driver_looks_up_may_stand_in_a_board_file() -> None:
    drivers = BOARDS.parent / "firmware" / "drivers"

    def keys(sources: Iterable[Path]) -> set[str]:
        found = (re.findall(r"""entry(?:\.get\(|\[)"(\w+)\"""", source.read_text()) for source in sources)
        return {key for names in found for key in names}

    radios = {*drivers.glob("sx*.py"), drivers / "lora.py"}
    assert {"tcxo_mv", "dio2_switch"} <= keys(radios) <= set(board.Radio.__struct_fields__)
    looked_up = keys({*drivers.glob("*.py"), drivers.parent / "node" / "sampler.py"} - radios)
    assert {"driver", "bus", "address", "period_ms", "dbfs", "fields"} <= looked_up
    assert looked_up <= set(board.Fitted.__struct_fields__)


def test_settings_of_a_sensor_reach_the_node(tmp_path: Path) -> None:
    path = tmp_path / "board.toml"
    settings = 'counter = 0\nperiod_ms = 2000\npins = ["power_cf", "power_cf1", "power_sel"]\ndivider = 1961\nshunt_uohm = 2000\ngain = 1.02\n'
    path.write_text(SIM.replace("counter = 0\n", settings))
    fitted = json.loads(board.node_json(board.load(path)))["fitted"]
    assert fitted[-1] == {
        "driver": "bl0937", "counter": 0, "period_ms": 2000, "pins": ["power_cf", "power_cf1", "power_sel"], "divider": 1961,
        "shunt_uohm": 2000, "gain": 1.02,
    }  # fmt: skip


def test_an_unknown_board_lists_the_known_ones() -> None:
    with pytest.raises(board.BoardError, match=r"known boards: .*sim"):
        board.find(BOARDS, "nonesuch")


# Partition tables


@pytest.mark.parametrize("flash", [4, 8, 16])
def test_a_layout_uses_the_flash_to_its_end_without_a_gap(flash: int) -> None:
    layouts = msgspec.convert(tomllib.loads(board.LAYOUTS.read_text())["layouts"], dict[str, list[board.Partition]])
    end = 0x9000
    for part in layouts[str(flash)]:
        assert part.offset == end
        end += part.size
    assert end == flash << 20


@pytest.mark.parametrize(
    ("name", "change", "fault"),
    [
        ("outbox", {"offset": 0x350100}, "size whole blocks"),
        ("outbox", {"size": 0x20100}, "size whole blocks"),
        ("outbox", {"size": 0}, "size whole blocks"),
        ("outbox", {"size": 0x10000}, "at least 0x20000 bytes"),
        ("outbox", {"name": "vfs"}, "two partitions called vfs"),
        ("outbox", {"name": "a_name_of_sixteen"}, "at most 15 bytes"),
        ("outbox", {"name": "log"}, "there is no partition outbox"),
        ("outbox", {"type": "app"}, "there is no partition outbox (data, fat)"),
        ("ota_1", {"offset": 0x1B1000, "size": 0x19F000}, "offset must be a multiple of 0x10000"),
        ("ota_1", {"size": 0x190000}, "differ in size"),
        ("ota_1", {"name": "factory"}, "there is no partition ota_1"),
        ("ota_1", {"offset": 0x190000}, "partition ota_1 overlaps ota_0"),
        ("nvs", {"offset": 0x8000}, "partition nvs overlaps the partition table"),
        ("vfs", {"size": 0x91000}, "partition vfs ends behind the 4 MB"),
    ],
)
def test_a_partition_table_that_cannot_work_is_refused(name: str, change: dict[str, Any], fault: str) -> None:
    sound = board.load(BOARDS / "sim" / "board.toml")
    assert not checks.faults(sound)
    part = next(part for part in sound.partitions if part.name == name)
    for field, value in change.items():
        setattr(part, field, value)
    assert any(fault in found for found in checks.faults(sound)), checks.faults(sound)


def test_eight_megabytes_keep_forty_days() -> None:
    big = board.load(BOARDS / "heltec_v3" / "board.toml")
    next(part for part in big.partitions if part.name == "outbox").size = 0x20000
    assert "partition outbox: at least 0x80000 bytes are needed with 8 MB of flash" in checks.faults(big)


def test_a_board_may_have_a_table_of_its_own(tmp_path: Path) -> None:
    own = "".join(
        f'[[partitions]]\nname = "{p.name}"\ntype = "{p.type}"\nsubtype = "{p.subtype}"\noffset = {p.offset}\nsize = {p.size}\n'
        for p in board.load(BOARDS / "sim" / "board.toml").partitions
    )
    path = tmp_path / "board.toml"
    path.write_text(SIM + "\n" + own.replace('"vfs"', '"spare"'))
    with pytest.raises(board.BoardError, match="there is no partition vfs"):
        board.load(path)


# The page


def test_the_readme_is_what_the_board_files_say() -> None:
    assert (BOARDS / "README.md").read_text() == readme.render(board.load_all(BOARDS)), (
        "boards/README.md is not up to date: run `python -m felinar_build boards --readme`"
    )


def test_pages_and_pictures_of_wiring_are_what_the_board_files_say() -> None:
    made = wiring.pages(board.load_all(BOARDS))
    folder = BOARDS.parent / "docs" / "wiring"
    assert {path.name for path in folder.iterdir()} == set(made)
    for name, text in made.items():
        assert (folder / name).read_text() == text, (
            f"docs/wiring/{name} is not up to date: run `python -m felinar_build boards --readme`"
        )


def test_a_page_of_wiring_tells_a_technician_every_wire() -> None:
    heltec = board.load(BOARDS / "heltec_v3" / "board.toml")
    page, picture = wiring.page(heltec), wiring.picture(heltec)
    for name, pin in heltec.pins.items():
        row = next(line for line in page.splitlines() if line.startswith(f"| `{name}` | {pin.gpio} | {pin.at or ''}"))
        assert ("**unverified**" in row) == (pin.source == "unverified")
        signal = signals.find(name)
        assert signal is not None
        assert signal.ends in row
        if pin.at and name != "vext_enable":
            assert f"GPIO {pin.gpio}, {pin.at.replace('pin ', '')}" in picture
    assert "SDA of BH1750, SPS30, SCD41, SHT4X" in page
    heltec.pins["dim"].gpio += 1
    assert wiring.page(heltec) != page
    assert wiring.picture(heltec) != picture


def test_every_part_that_a_board_has_is_wired_completely() -> None:
    for one in board.load_all(BOARDS):
        laid = {net for block in wiring.blocks(one) for _, net in block.pins}
        ours = {name for name, pin in one.pins.items() if pin.ours}
        assert ours <= laid, one.board.id
        for block in wiring.blocks(one):
            assert len(block.pins) >= 2, (one.board.id, block.part.title)
