"""A radio is tried at the board's prompt, a proven node is switched over to it, and is then seen to run with it.

Nothing of this stays on the board: what runs there is sent for it, through mpremote (`felinar.care.prompt`), and forgotten by the
reset that follows.
"""

from __future__ import annotations

import ast
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from felinar.flash import ports
from felinar.flash.catalogue import FlashError
from felinar.flash.ports import Port
from felinar.flash.progress import Stage
from felinar.flash.prove import Part, SerialLine

if TYPE_CHECKING:
    from felinar_build.board import Radio

    from felinar.care.prompt import Board

RUNS_S = (8.0, 25.0)
"""How long a node that was switched over runs before it is looked at; the second time only if it was still starting."""
_TRY = """
import asyncio,machine,drivers
from node import board
said={"uid":machine.unique_id().hex(),"at":"board","why":""}
async def listens(r):
 for _ in range(3):
  if await r.tend(False):
   return
  await asyncio.sleep_ms(20)
 raise drivers.DriverError(drivers.RANGE)
async def go():
 entry=board.parse(board.find("board.json"))
 about=entry["radio"]
 name=about["chip"][:5]+"x"
 r=getattr(__import__("drivers."+name),name).open(board.Board(entry),about)
 said["at"]="start"
 await r.start()
 said["at"]="listen"
 r.configure(868100000,7,14)
 r.listen()
 await listens(r)
 said["at"]="cad"
 said["busy"]=await r.cad()
 said["at"]="again"
 await listens(r)
 said["at"]=""
try:
 asyncio.run(go())
except drivers.DriverError as e:
 said["why"]={getattr(drivers,n):n for n in ("NACK","TIMEOUT","IDENTITY","RANGE","FAULT")}.get(e.reason,str(e.reason))
print(said)
"""
# An interrupted node, asked without a step of its loop: `tend` ends at once where the chip is in the mode that it was put into. Names
# with an underscore are others on a board (felinar_build.fold), so what they stand for is found by what it can do. Hardly a kilobyte of
# its memory is free in one piece, and the compiler needs one: so each line is sent alone, again where there was no room for it, and what
# nobody needs any more is let go of.
_LOOK = (
    "import gc",
    "gc.collect()",
    "n=[x for x in app.__dict__.values() if isinstance(x,app.App)][0]",
    "r=[x for x in n.line.__dict__.values() if hasattr(x,'tend')][0]",
    "a=n.board.line['type'],n.config.address,n.clock.up()",
    "b=n.line.counts.get('radio',0)",
    "import sys",
    "import asyncio",
    "asyncio.new_event_loop()",
    "sys.modules.clear()",
    "n=app=None",
    "gc.collect()",
    "ok=0",
    "try:r.tend(False).send(None)\nexcept StopIteration as e:ok=e.value",
    "print(a+(ok,b))",
)
_TRIES = 6

Tell = Callable[[Stage, str], None]


class AtPrompt:
    """A board whose program was stopped, for what has to be done to its radio. Raises FlashError."""

    def __init__(self, board: Board, mac: str, about: Radio, failed: str) -> None:
        self._board = board
        self._failed = failed
        self._mac = mac
        self._about = about

    def try_radio(self) -> Part:
        """Reset it, calibrate it, put it into reception as the board file says, detect activity on a channel, and hear on."""
        said = _ask(self._board, (_TRY,), "radio")
        if said["uid"] != self._mac:
            raise FlashError(
                "other-node", f"The board at the port has chip {said['uid']}, and {self._mac} was written."
            )
        if said["at"]:
            return Part("radio", False, f"{self._about.chip}: {self._why(said['at'], said['why'])}")
        channel = "busy" if said["busy"] else "free"
        return Part("radio", True, f"{self._about.chip} calibrated, hears; the channel is {channel}")

    def _why(self, at: str, why: str) -> str:
        tcxo = self._about.tcxo_mv
        if why == "NACK":
            return "it does not answer on SPI (radio_sck, radio_miso, radio_mosi, radio_cs, radio_rst, its supply)"
        if why == "IDENTITY":
            return "another chip answers, or its lines are disturbed"
        if why == "FAULT":
            clock = f"its TCXO of {tcxo} mV" if tcxo else "its crystal (the board file has no TCXO: tcxo_mv)"
            return f"it can't calibrate itself: look at {clock}"
        if why == "TIMEOUT" and at == "cad":
            return "no interrupt comes at the end of a detection: look at radio_irq"
        if why == "TIMEOUT":
            return "its BUSY line stays high: look at radio_busy"
        return "it does not stay in reception" if at in ("listen", "again") else f"{why or 'no reason'} at {at}"

    def finish(self, path: str, content: bytes) -> None:
        """Put the file there that makes the board what it is to be: none of it or all is there, whenever the line or the supply is lost."""
        from felinar.care.errors import CareError, LineLost

        try:
            self._board.write(path, content)
        except LineLost:
            raise
        except CareError as error:
            raise FlashError(self._failed, f"{path} could not be written: {error.sentence}") from error


def _ask(board: Board, pieces: Sequence[str], code: str) -> Any:
    """What the last of these pieces of a program prints."""
    from mpremote.transport import TransportExecError

    try:
        said = b""
        for piece in pieces:
            for left in range(_TRIES)[::-1]:
                try:
                    said = board.transport.exec(piece)
                    break
                except TransportExecError as error:
                    if not left or "MemoryError" not in error.error_output:
                        raise
        return ast.literal_eval(said.decode().strip())
    except TransportExecError as error:
        last = (error.error_output.strip() or "nothing").splitlines()[-1]
        raise FlashError(code, f"The board says '{last}'.") from error
    except (ValueError, SyntaxError) as error:
        raise FlashError(code, "The board's answer is garbled.") from error


def _there(port: Port) -> str:
    """The port's present name. Raises FlashError: connection-lost, where it can't be opened any more."""
    device = ports.again(port).device
    with SerialLine(device):
        return device


@contextmanager
def at_prompt(port: Port, mac: str, about: Radio, failed: str) -> Iterator[AtPrompt]:
    """Stop the board's program, and start it again in the end. What goes wrong on the way there, or with the line, is a
    FlashError: connection-lost, or `failed`."""
    from felinar.care.errors import CareError, LineLost
    from felinar.care.prompt import at_prompt as prompt

    try:
        with prompt(_there(port)) as board:
            yield AtPrompt(board, mac, about, failed)
    except LineLost as error:
        raise FlashError("connection-lost", error.sentence) from error
    except CareError as error:
        raise FlashError(failed, error.sentence, error.remedy) from error


def runs(
    port: Port,
    address: int,
    told: Callable[[str], None] = lambda _: None,
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> str:
    """A node that has just been switched over runs for some seconds, is stopped where it is, and looked at; then it starts again,
    for good. How it was found. Raises FlashError: not-running, connection-lost."""
    from felinar.care.errors import CareError, LineLost
    from felinar.care.prompt import at_prompt as prompt

    found = ""
    for seconds in RUNS_S:
        told(f"for {seconds:g} s")
        sleep(seconds)
        device = _there(port)
        try:
            with prompt(device, running=True) as board:
                line, who, up, listens, failures = _ask(board, _LOOK, "not-running")
        except LineLost as error:
            raise FlashError("connection-lost", error.sentence) from error
        except (CareError, FlashError) as error:
            found = error.sentence  # it may not have come so far
            continue
        if (line, who) == ("radio", address) and listens and not failures:
            return f"node {who} listens, {up} s after its start"
        state = f"has failed {failures} times" if failures else "listens" if listens else "does not listen"
        found = f"After {up} s it is node {who}, its line is {line}, and its radio {state}."
    raise FlashError("not-running", f"The node was switched over to its radio, but is not seen to run. {found}")
