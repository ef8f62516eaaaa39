"""From a bare board to a radio bridge that has said HELLO and answers: written, its radio tried, its own words heard."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from felinar.air.modem import DOWNLINK_HZ, About, Modem
from felinar.flash import chip as chips
from felinar.flash import firmware as firmwares
from felinar.flash import image as images
from felinar.flash import ports, radio, report
from felinar.flash.catalogue import FlashError
from felinar.flash.chip import Chip
from felinar.flash.ports import Port
from felinar.flash.progress import OnProgress, Progress, Stage, nobody
from felinar.flash.prove import Line, SerialLine
from felinar.flash.steps import Clock
from felinar.flash.writer import SPEEDS, Writer

OWN_S = 8.0
"""How long a bridge has for the HELLO of its start, before it is asked."""
ANSWER_S = 12.0
_SF = 7
_USB_S = 2.0
"""In which a chip's own USB port goes and comes back with its reset."""


class Heard(msgspec.Struct, frozen=True):
    """What a bridge said of itself: `dbm` is the most that its radio sends with, `round_trip_ms` of the quickest PING."""

    uid: str
    version: str
    chip: str
    dbm: int
    own: bool
    """The HELLO of its start was heard, which it says once its radio works; else it was asked."""
    round_trip_ms: float
    up_s: int


class Report(report.Report, frozen=True):
    """One board that was made a bridge. `url` is the port's lasting name, for `felinar.toml`."""

    url: str
    heard: Heard

    @property
    def entry(self) -> str:
        """The lines that the daemon's configuration needs. What a bridge sends with is 22 dBm unless its radio can't."""
        power = f"power = {self.heard.dbm}\n" if self.heard.dbm < 22 else ""
        return f'[[bridge]]\nurl = "{self.url}"\n{power}'

    def json(self) -> dict[str, Any]:
        return {**msgspec.to_builtins(self), "role": "bridge", "passed": True, "entry": self.entry}


def meet(line: Line, mac: str, *, now: Callable[[], float] = time.monotonic) -> Heard:
    """Hear a bridge that is starting: its HELLO, then the answer to a PING. Raises FlashError: bridge-silent, other-node."""
    began = now()
    modem = Modem(DOWNLINK_HZ, _SF, 22, began)
    about: About | None = None
    own = False
    while True:
        at = now()
        asking = about is not None or at - began >= OWN_S
        if asking:
            modem.tick(at)
            line.write(modem.take())
        for event in modem.receive(line.read(0.1), now()):
            if isinstance(event, About):
                own = own or not asking
                about = event
        if about is not None and modem.ready and modem.beat:
            break
        if now() - began >= OWN_S + ANSWER_S:
            what = "answers no PING" if about is not None else "says no HELLO"
            raise FlashError(
                "bridge-silent", f"The board was written as a bridge, but {what} within {now() - began:.0f} s."
            )
    if not about.uid.startswith(mac):
        raise FlashError("other-node", f"The bridge at the line has chip {about.uid[:12]}, and {mac} was written.")
    chip = {1: "sx126x", 2: "sx127x"}.get(about.chip, str(about.chip))
    trip = round(modem.clock.round_trip * 1000, 1)
    return Heard(mac, about.version, chip, about.dbm, own, trip, modem.beat["up"])


def flash(
    port: Port,
    board_id: str,
    firmware: Path | firmwares.Firmware,
    on_progress: OnProgress = nobody,
    *,
    speeds: tuple[int, ...] = SPEEDS,
    on_chip: Callable[[Chip], None] = lambda _: None,
    on_written: Callable[[], None] = lambda: None,
) -> Report:
    """A bare board, or one that was something else, to a bridge; it gets no key, and whatever key it had is erased.

    `on_chip` is called when the board is known and fits, before anything is written; it may raise FelinarError to refuse it.
    Raises FlashError: radio for one whose radio does not work, bridge-silent, most of the catalogue.
    """
    clock = Clock()
    described = images.board(board_id)
    images.with_radio(described, "be a bridge")
    assert described.radio is not None

    def tell(stage: Stage, text: str = "") -> None:
        on_progress(Progress(port.device, stage, text=text))

    with Writer(port, on_progress) as writer:
        found = writer.chip
        chips.require(described, found)
        on_chip(found)
        clock.lap("connect")
        tell("build", f"{found.name}, {found.flash_mb:g} MB, {found.mac}")
        image = images.build_bridge(board_id, firmware)
        clock.lap("build")
        written = writer.write(image, speeds)
    on_written()
    clock.lap("write")
    tell("radio")
    with radio.at_prompt(port, found.mac, described.radio, "bridge-silent") as prompt:
        part = prompt.try_radio()
        if not part.passed:
            raise FlashError("radio", f"The radio of the board does not work: {part.detail}.")
        clock.lap("radio")
        tell("switch")
        prompt.finish(*image.last)
    clock.lap("switch")
    tell("hello")
    if described.board.console == "usb":
        time.sleep(_USB_S)
    with SerialLine(ports.again(port).device) as line:
        line.reset()  # again, now that its words are heard
        heard = meet(line, found.mac)
    clock.lap("hello")
    tell("done")
    return Report(
        port=port.device,
        url=ports.lasting(port),
        board=board_id,
        mac=found.mac,
        chip=found.name,
        flash_mb=found.flash_mb,
        firmware=image.firmware,
        firmware_sha256=image.firmware_sha256,
        image_sha256=image.sha256,
        image_bytes=image.size,
        written=written,
        heard=heard,
        parts=(part,),
        times=clock.times,
    )
