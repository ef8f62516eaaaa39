"""A board without hardware: a port that the real esptool and mpremote take for a board on USB, and everything behind it."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from littlefs import LittleFS, LittleFSError, UserContext

from felinar_sim.clock import RealClock, Timer
from felinar_sim.errors import SimulatorError
from felinar_sim.flash import BLOCK, PowerLost
from felinar_sim.vboard import faults as fault_names
from felinar_sim.vboard import image
from felinar_sim.vboard.chips import KINDS, Kind, Registers, kind, mac_bytes
from felinar_sim.vboard.circuit import SETTLE_US, Act, Circuit
from felinar_sim.vboard.loader import Loader
from felinar_sim.vboard.nor import NorFlash
from felinar_sim.vboard.nvs import FlashNvs
from felinar_sim.vboard.port import RfcPort, Traffic
from felinar_sim.vboard.program import HEAP, Program

CONSOLE_BAUD = 115_200
_FAST_BAUD = 1_000_000  # what the console's bytes arrive with when the line is as fast as it goes: its ring of 260 must not run over
_BITE_US = 13_000  # esptool asks for 2000 periods of a clock of about 150 kHz
_AGAIN_US = 1_000_000  # a chip that finds nothing to start tries again and again


class VirtualBoard:
    """One board on an RFC 2217 port of the loopback interface, alive while the `with` lasts.

    ```
    with VirtualBoard(chip="esp32s3", flash_mb=8) as board:
        subprocess.run([sys.executable, "-m", "esptool", "--port", board.url, "flash-id"])
    ```

    Each board lives in a thread of its own; any number may live in one process. Its methods may be called from any thread.
    """

    def __init__(
        self,
        chip: str = "esp32s3",
        flash_mb: int | None = None,
        *,
        port: int = 0,
        mac: str | None = None,
        image: Path | str | None = None,
        micropython: bool = False,
        faults: Iterable[str] = (),
        max_baud: int | None = None,
        speed: Literal["virtual", "real"] = "virtual",
        usb: bool = False,
        native: Path | str | None = None,
        folder: Path | str | None = None,
        heap: str = HEAP,
        seed: int | str = 0,
    ) -> None:
        """`chip` is esp32 or esp32s3. `port` 0 takes a free one; the MAC address is made from it unless `mac` names one. `image` is a file with the flash's content, which is kept there; without one
        the flash is new and erased. `micropython` puts a firmware on a flash that is erased. `faults` are names: `felinar_sim.vboard.faults`.
        Above `max_baud` only noise passes the line. `speed` "real" makes the line as slow as its rate says, "virtual" only counts
        (`traffic`). `usb`: the lines reach the chip through its own USB (USB Serial/JTAG), not through two transistors. `native` is an
        application folder built for this computer (`python -m felinar_build app --board sim`): the desktop's MicroPython cannot run a module
        with the chip's machine code in it, and takes that one from there.
        """
        if speed not in ("virtual", "real"):
            raise SimulatorError(f"no speed {speed!r}; there are virtual and real")
        self.faults = fault_names.parse(faults)
        bought = kind(chip)
        self.kind: Kind = next(k for k in KINDS.values() if k is not bought) if self.faults.wrong_chip else bought
        size_mb = 2 if self.faults.small_flash else (flash_mb or bought.flash_mb)
        if size_mb not in (1, 2, 4, 8, 16, 32):
            raise SimulatorError(f"there is no flash of {size_mb} MB; there are 1, 2, 4, 8, 16 and 32")
        given = mac_bytes(mac) if mac else None
        self.flash = NorFlash(size_mb << 20, path=Path(image) if image else None, seed=seed)
        self.flash.bad = {offset // BLOCK for offset in self.faults.bad_blocks}
        self.clock = RealClock()
        self._temporary = folder is None
        self.folder = Path(tempfile.mkdtemp(prefix="felinar-board-")) if folder is None else Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.state: Literal["off", "held", "download", "stub", "running", "unbootable"] = "held"
        self.downloads = 0
        """How often the chip was put into its boot loader."""
        self.program: Program | None = None
        """The board whose program runs, from the first start from flash on: `lamp`, `chip(driver)`, `boots`, `log`, …"""
        self._seed, self._heap, self._real = str(seed), heap, speed == "real"
        self._native = Path(native).resolve() if native is not None else None
        self._known: bytes | None = None
        self._settling: Timer | None = None
        self._circuit = Circuit(usb=usb)
        try:
            self.port = RfcPort(self.clock, port, throttle=self._real, max_baud=max_baud)
        except SimulatorError:
            self._let_go()
            raise
        self.mac = given or b"\x02\0\0\0" + self.port.number.to_bytes(2, "big")
        self._registers = Registers(self.kind, self.mac, self.flash)
        self.port.drop_after, self.port.gone_s = self.faults.dropout, self.faults.gone_s
        self.port.on_lines, self.port.on_data = self._lines, self._heard
        self._loader = Loader(self._registers, self.flash, self.port.send)
        self._loader.deaf = self.faults.no_sync
        self._loader.on_baud, self._loader.on_boot = self._set_baud, self._boot
        self._loader.on_restart, self._registers.on_watchdog = self._restart, self._bitten
        if micropython and self.flash.read(self.kind.boot_offset, 4) == b"\xff" * 4:
            self.flash.place(self.kind.boot_offset, _firmware(self.kind, size_mb))

    # Use

    @property
    def url(self) -> str:
        """What esptool, mpremote and pySerial call the port."""
        return f"rfc2217://127.0.0.1:{self.port.number}"

    @property
    def traffic(self) -> Traffic:
        """Bytes on the line since the start or the last `count_anew`."""
        return self.port.traffic

    def count_anew(self) -> None:
        """Begin a new account of the line."""
        with self.clock.lock:
            self.port.traffic = Traffic()

    def __enter__(self) -> VirtualBoard:
        self.clock.start()
        self.power_on()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End everything; a temporary folder goes too, an image stays."""
        self.clock.join()
        self.port.close()
        self._let_go()

    def _let_go(self) -> None:
        if self.program is not None:
            self.program.retire()
        self.flash.close()
        if self._temporary:
            shutil.rmtree(self.folder, ignore_errors=True)

    def power_on(self) -> None:
        """The supply comes (back): the chip starts from flash."""
        with self.clock.lock:
            if self.state in ("off", "held"):
                self._boot()

    def cut_power(self) -> None:
        """The supply fails; the port stays, as a USB adapter does."""
        with self.clock.lock:
            self._halt("off")
            if self.program is not None:
                self.program.cut_power()

    def power_cycle(self) -> None:
        """Cut the supply and bring it back."""
        with self.clock.lock:
            self.cut_power()
            self.power_on()

    def cut_after(self, operations: int, torn: float = 0.0) -> None:
        """Lose power in a later flash operation, of the loader as of the program: see `felinar_sim.flash.Fuse.cut_after`."""
        self.flash.fuse.cut_after(operations, torn)

    def reset(self) -> None:
        """The reset button."""
        with self.clock.lock:
            if self.state != "off":
                self._boot()

    def pull(self) -> None:
        """Pull the cable: the connection breaks, and nobody can connect until `plug`."""
        with self.clock.lock:
            self.port.pull()

    def plug(self) -> None:
        """Put the cable in again."""
        with self.clock.lock:
            self.port.plug()

    def repair(self) -> None:
        """Take all faults away but a wrong chip and a small flash, which only another board cures."""
        with self.clock.lock:
            self._loader.deaf = self.faults.no_sync = self.faults.no_download = self.faults.dead_radio = False
            self._radio_as_it_is()
            self.port.drop_after = self.faults.dropout = None
            self.port.plug()
            self.flash.bad.clear()

    def file(self, path: str) -> bytes | None:
        """Content of a file in the flash's file system as it is at this moment; None when there is none."""
        with self.clock.lock:
            return self._files().get(path.lstrip("/"))

    def nvs(self) -> dict[str, bytes]:
        """What the flash's NVS partition holds, by "namespace/key"."""
        with self.clock.lock:
            where = image.find(image.partitions(self.flash), "nvs")
            return {} if where is None else FlashNvs(self.flash, where.offset, where.size).items()

    # The lines

    def _lines(self, dtr: bool, rts: bool) -> None:
        if self._settling is not None:
            self._settling.cancel()
            self._settling = None
        self._act(self._circuit.change(dtr, rts))

    def _act(self, act: Act) -> None:
        if self.state == "off" or act is Act.NONE:
            return
        if act is Act.HOLD:
            self._halt("held")
            if self.program is not None:
                self.program.stop()
        elif act is Act.CHARGING:
            self._settling = self.clock.at(self.clock.now_us + SETTLE_US, lambda: self._act(self._circuit.settled()))
        elif act is Act.DOWNLOAD and not self.faults.no_download:
            self._download()
        else:
            self._boot()

    def _halt(self, state: Literal["off", "held"]) -> None:
        self.state = state
        if self._settling is not None:
            self._settling.cancel()
            self._settling = None

    def _heard(self, data: bytes) -> None:
        if self.state in ("download", "stub"):
            if self.port.chip_baud is None:  # the ROM measures the rate by what comes first
                self._set_baud(self.port.baud)
            try:
                self._loader.feed(data)
            except PowerLost:
                self.cut_power()
                return
            if self.state == "download" and self._loader.stub:
                self.state = "stub"
        elif self.state == "running" and self.program is not None:
            self.program.hear(data)

    # The chip

    def _set_baud(self, baud: int) -> None:
        self.port.chip_baud = self._registers.baud = baud

    def _restart(self) -> None:
        """The stub restarts the chip by software: the straps are not read again, so it is the ROM once more."""
        if self._loader.stub:
            self._download()
        else:
            self._boot()

    def _bitten(self) -> None:
        """The chip's own watchdog, which esptool may set off: a reset that reads the straps."""
        self.clock.at(self.clock.now_us + _BITE_US, lambda: self._act(self._circuit.straps()))

    def _download(self) -> None:
        if self.program is not None:
            self.program.stop()
        self.state = "download"
        self.downloads += 1
        self._loader.reset()
        self._set_baud(CONSOLE_BAUD)
        if not self.faults.no_sync:
            self.port.send(self.kind.greeting)
        self.port.chip_baud = None

    def _boot(self) -> None:
        """EN rises with IO0 high: start what is in flash."""
        self._set_baud(CONSOLE_BAUD)
        try:
            table, _ = image.bootable(self.flash, self.kind)
        except image.NotBootable as error:
            if self.program is not None:
                self.program.stop()
            again = self.state == "unbootable"
            self.state = "unbootable"
            self.port.send(
                f"rst:0x{10 if again else 1:x} (RESET),boot:0x{self.kind.boot_mode:x} (SPI_FAST_FLASH_BOOT)\r\n{error}\r\n".encode()
            )
            self._settling = self.clock.at(self.clock.now_us + _AGAIN_US, self._try_again)
            return
        self._ready_program()
        assert self.program is not None
        where = image.find(table, "nvs")
        if where is not None:
            self.program.nvs_at(where.offset, where.size)
        self.state = "running"
        self.program.en_reset()

    def _supply(self, present: bool, _: int) -> None:
        """The program's side of the board has power, or has lost it in a flash operation."""
        if not present:
            self._halt("off")

    def _try_again(self) -> None:
        if self.state == "unbootable":
            self._boot()

    def _ready_program(self) -> None:
        """A program's board is kept over resets, with the state of its chips, until another description is flashed."""
        files = self._files(("board.json", "config.json"))
        raw = files.get("board.json", b"{}") + b"\0" + files.get("config.json", b"{}")
        if self.program is not None and raw == self._known:
            return
        self._known = raw
        if self.program is not None:
            self.program.retire()
        self.program = Program(
            self.folder, self.clock, self.flash, description=_object(files.get("board.json")), config=_object(files.get("config.json")),
            mac=self.mac, native=self._native, baud=CONSOLE_BAUD if self._real else _FAST_BAUD, seed=self._seed, heap=self._heap,
        )  # fmt: skip
        self._radio_as_it_is()
        self.program.console.on_output.append(self.port.send)
        self.program.on_power.append(self._supply)

    def _radio_as_it_is(self) -> None:
        if self.program is not None:
            for entry, part in self.program.parts:
                if entry.get("driver") == "radio":
                    part.gone = self.faults.dead_radio

    def _files(self, only: Iterable[str] | None = None) -> dict[str, bytes]:
        """Files of the LittleFS in the partition `vfs`, by path; none when there is no such file system."""
        try:
            where = image.find(image.partitions(self.flash), "vfs")
        except image.NotBootable:
            return {}
        if where is None:
            return {}
        content = bytearray(self.flash.read(where.offset, where.size))
        try:
            fs = LittleFS(
                context=UserContext(buffer=content), block_size=BLOCK, block_count=where.size // BLOCK, mount=True
            )
        except LittleFSError:
            return {}
        found: dict[str, bytes] = {}
        for folder, _, names in fs.walk("/"):
            for name in names:
                path = f"{folder.rstrip('/')}/{name}".lstrip("/")
                if only is None or path in only:
                    with fs.open(path, "rb") as f:
                        found[path] = f.read()
        return found


def _object(text: bytes | None) -> dict[str, Any]:
    try:
        found = json.loads(text or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _firmware(chip: Kind, flash_mb: int) -> bytes:
    if flash_mb < 4:
        raise SimulatorError("a firmware needs 4 MB of flash or more")
    return image.firmware(chip, flash_mb)
