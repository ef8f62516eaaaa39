"""The command `felinar-sim board`: a virtual board for people and for tools that run by themselves."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from felinar_sim.errors import SimulatorError
from felinar_sim.vboard import faults, image
from felinar_sim.vboard.chips import KINDS
from felinar_sim.vboard.virtual import VirtualBoard

COMMANDS = """Commands, one a line on standard input:

- `state` prints chip, state and the account of the line; `count` begins a new account
- `cut`, `on` take the supply away and bring it back; `cycle` both; `cutafter OPERATIONS [TORN]` loses it in a later flash operation
- `reset` is the button, `pull` and `plug` are the cable, `repair` takes the faults away
- `quit`
"""


def firmware(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="Where to write it.")],
    chip: Annotated[str, typer.Option(help="esp32 or esp32s3.")] = "esp32",
    flash_mb: Annotated[int, typer.Option(min=4, max=16, help="Size of the flash, MB.")] = 4,
) -> None:
    """Write what stands for MicroPython's download where only virtual boards are flashed: same form and size, no code.

    Example

    felinar-sim firmware sim.bin
    """
    try:
        if chip not in KINDS:
            raise SimulatorError(f"there is no chip {chip}; there are {', '.join(KINDS)}")
        path.write_bytes(image.firmware(KINDS[chip], flash_mb))
    except (SimulatorError, OSError) as error:
        typer.echo(f"felinar-sim: {error}", err=True)
        raise typer.Exit(1) from error


def board(
    port: Annotated[int, typer.Option(min=0, max=65535, help="TCP port on 127.0.0.1; 0: any free one.")] = 4000,
    chip: Annotated[str, typer.Option(help="esp32 (as the board `sim` has) or esp32s3.")] = "esp32",
    flash_mb: Annotated[
        int | None, typer.Option(help="Size of the flash, MB; default: 8 (ESP32-S3), 4 (ESP32).")
    ] = None,
    mac: Annotated[
        str | None, typer.Option(help="MAC address, 02:00:00:00:00:01; default: made from the port.")
    ] = None,
    image: Annotated[
        Path | None, typer.Option(help="File that holds the flash; made when there is none. Default: a new flash.")
    ] = None,
    micropython: Annotated[
        bool,
        typer.Option("--micropython/--bare", help="A flash that is erased gets MicroPython, or stays as it is."),
    ] = True,
    fault: Annotated[list[str] | None, typer.Option(help=f"What is wrong, repeatable: {faults.HELP}.")] = None,
    baud_model: Annotated[
        int | None, typer.Option(min=300, help="Fastest rate that cable and adapter carry; above it there is noise.")
    ] = None,
    speed: Annotated[
        str, typer.Option(help="virtual: as fast as it goes, counted; real: as slow as the rate.")
    ] = "virtual",
    usb: Annotated[bool, typer.Option("--usb", help="The lines reach the chip through its own USB.")] = False,
    native: Annotated[
        Path | None,
        typer.Option(help="Application built for this computer: stands in for modules of the chip's machine code."),
    ] = None,
    folder: Annotated[Path | None, typer.Option("--dir", help="Where the board's log is kept.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON lines on standard output.")] = False,
) -> None:
    """Run a virtual board on an RFC 2217 port until Ctrl-C, SIGTERM or `quit`.

    The real esptool flashes it and the real mpremote talks to it, as if it hung on USB: boot ROM, flasher stub, flash, then MicroPython
    with what was flashed.

    **Example**

    `felinar-sim board --port 4000`

    `esptool --port rfc2217://127.0.0.1:4000 flash-id`, `mpremote connect rfc2217://127.0.0.1:4000`
    """
    made = VirtualBoard(
        chip, flash_mb, port=port, mac=mac, image=image, micropython=micropython, faults=fault or (), max_baud=baud_model,
        speed=speed, usb=usb, native=native, folder=folder,  # type: ignore[arg-type]
    )  # fmt: skip
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    with made as running:
        session = _Session(running, ended, as_json=as_json)
        session.tell("ready", url=running.url, pid=os.getpid(), **state(running))
        threading.Thread(target=session.listen, daemon=True).start()
        ended.wait()
        session.tell("ledger", **state(running))


def state(board: VirtualBoard) -> dict[str, Any]:
    """What the outside can see of the board, as plain values."""
    traffic = board.traffic
    return {
        "chip": board.kind.name,
        "flash_mb": board.flash.size >> 20,
        "mac": board.mac.hex(":"),
        "state": board.state,
        "downloads": board.downloads,
        "boots": len(board.program.boots) if board.program is not None else 0,
        "bytes_in": traffic.bytes_in,
        "bytes_out": traffic.bytes_out,
        "line_s": round(traffic.line_s, 6),
    }


class _Session:
    def __init__(self, board: VirtualBoard, ended: threading.Event, *, as_json: bool) -> None:
        self._board, self._ended, self._json = board, ended, as_json

    def tell(self, event: str, **content: Any) -> None:
        """One line on standard output."""
        if self._json:
            line = json.dumps({"event": event, **content})
        else:
            line = f"{event}: " + ", ".join(f"{key} {value}" for key, value in content.items())
        sys.stdout.write(line + "\n")
        sys.stdout.flush()

    def listen(self) -> None:
        """Carry out commands until standard input ends."""
        for line in sys.stdin:
            words = line.split()
            if not words:
                continue
            try:
                self._command(words[0], words[1:])
            except (SimulatorError, ValueError, IndexError) as error:
                self.tell("answer", command=" ".join(words), ok=False, error=str(error) or type(error).__name__)
            else:
                self.tell("answer", command=" ".join(words), ok=True)

    def _command(self, verb: str, rest: list[str]) -> None:
        board = self._board
        actions: dict[str, Callable[[], None]] = {
            "state": lambda: self.tell("state", **state(board)),
            "count": board.count_anew,
            "cut": board.cut_power,
            "on": board.power_on,
            "cycle": board.power_cycle,
            "cutafter": lambda: board.cut_after(int(rest[0]), *map(float, rest[1:2])),
            "reset": board.reset,
            "pull": board.pull,
            "plug": board.plug,
            "repair": board.repair,
            "quit": self._ended.set,
        }
        if verb not in actions:
            raise SimulatorError(f"no command {verb!r}; there are {', '.join(actions)}")
        actions[verb]()
