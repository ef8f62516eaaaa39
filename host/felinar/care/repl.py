"""What `felinar repl` does: a board's prompt in this terminal, and the node again afterwards."""

from __future__ import annotations

import os
import select
import sys
import termios
import tty
from typing import Any

from felinar.care.errors import CareError, LineLost
from felinar.care.line import alive
from felinar.care.prompt import at_prompt
from felinar.flash.prove import BAUD

_LEAVE = (b"\x1d", b"\x18")  # Ctrl-] and Ctrl-X, as in mpremote
_LOOK_S = 0.02


def run(port: str, *, baud: int = BAUD, stay: bool = False) -> None:
    """Give this terminal to the board's prompt until Ctrl-]. `stay`: leave the board there. Raises CareError."""
    if not sys.stdin.isatty():
        raise CareError(
            "There is no terminal for the prompt.", "For programs there is mpremote: mpremote connect PORT exec ..."
        )
    sys.stdout.write("The node is stopped; its lamp is lit.\n")
    sys.stdout.flush()
    with at_prompt(port, baud, restart=not stay) as board:
        sys.stdout.write(
            "Ctrl-] leaves"
            + ("" if stay else ", and the node starts again")
            + "; after an hour it does so by itself.\n"
        )
        sys.stdout.flush()
        board.friendly()
        _join(board.port, port)
    sys.stdout.write("\nThe board is left at its prompt.\n" if stay else "\nThe node starts again.\n")


def _join(port: Any, device: str) -> None:
    """The terminal and the port, until somebody leaves or the port goes."""
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    tty.setraw(terminal)
    try:
        while True:
            ready, _, _ = select.select([terminal], [], [], _LOOK_S)
            if ready:
                typed = os.read(terminal, 256)
                if not typed or any(leave in typed for leave in _LEAVE):
                    return
                port.write(typed)
            if waiting := port.in_waiting:
                os.write(sys.stdout.fileno(), port.read(waiting))
            elif not alive(device, port):
                raise LineLost(device)
    except OSError as error:
        raise LineLost(device) from error
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)
