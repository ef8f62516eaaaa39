"""The steps of one board, in order: boot loader, image, one write, proof of its key, self-test."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from felinar.flash import chip as chips
from felinar.flash import firmware as firmwares
from felinar.flash import image as images
from felinar.flash import ports, radio, report
from felinar.flash.catalogue import FlashError
from felinar.flash.chip import Chip
from felinar.flash.image import Image
from felinar.flash.ports import Port
from felinar.flash.progress import OnProgress, Progress, Stage, nobody
from felinar.flash.prove import Part, Proven, Prover, SerialLine
from felinar.flash.writer import SPEEDS, Writer
from felinar.keys.interface import KeyStore, KeyStoreError


class Report(report.Report, frozen=True):
    """One lamp node that was written and has proved its key. `passed` is its self-test.

    One whose `line` is "radio" has been switched over to it, and seen to run with it as `running` says; one of which a part failed has not.
    """

    address: int
    proven: Proven
    line: images.Line = "wired"
    running: str = ""

    @property
    def passed(self) -> bool:
        return all(part.passed for part in self.parts)

    @property
    def failed(self) -> tuple[str, ...]:
        """Names of the parts that failed."""
        return tuple(part.name for part in self.parts if not part.passed)

    @property
    def failure(self) -> FlashError | None:
        """What is wrong with a board of which a part failed: `radio` where that is the only one, else `self-test`."""
        if self.passed:
            return None
        wrong = [part for part in self.parts if not part.passed]
        said = "; ".join(f"{part.name}: {part.detail}" if part.detail else part.name for part in wrong)
        stays = " It still speaks through its cable." if self.line == "radio" else ""
        if self.failed == ("radio",):
            return FlashError("radio", f"The node has its key, but its radio does not work: {wrong[0].detail}.{stays}")
        return FlashError("self-test", f"The node has its key, but its self-test failed: {said}.{stays}")

    def json(self) -> dict[str, Any]:
        return {**msgspec.to_builtins(self), "role": "lamp", "passed": self.passed, "failed": list(self.failed)}


class Clock:
    """Seconds by stage."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._at = self._began = now()
        self.times: dict[str, float] = {}

    def lap(self, stage: str) -> None:
        now = self._now()
        self.times[stage] = round(now - self._at, 3)
        self.times["all"] = round(now - self._began, 3)
        self._at = now


def flash(
    port: Port | Writer,
    image: Image,
    on_progress: OnProgress = nobody,
    *,
    speeds: tuple[int, ...] = SPEEDS,
    test: bool = True,
    lamp: bool = False,
    on_proven: Callable[[Proven], None] = lambda _: None,
    clock: Clock | None = None,
) -> Report:
    """Write an image, start the board, have it prove its key and its parts, and switch it over to its radio if that is its line.

    `port` may be a `Writer` that has the board in its boot loader already. `test`: run the self-test; `lamp`: one hangs on
    the relay, so that its power must be seen. `on_proven` is called as soon as the key is proven, before the self-test. The radio of
    a node that is to speak by it is tried with or without `test`; only when all has passed is the node switched over.
    A part that fails is in the report, not an error. Raises FlashError: most of the catalogue.
    """
    clock = clock or Clock()
    described = images.board(image.board)
    writer = port if isinstance(port, Writer) else Writer(port, on_progress)

    def tell(stage: Stage, text: str = "") -> None:
        on_progress(Progress(writer.port.device, stage, text=text))

    with writer:
        found: Chip = writer.chip
        chips.require(described, found)
        clock.lap("connect")
        written = writer.write(image, speeds)
    clock.lap("write")
    tell("boot")
    with SerialLine(ports.again(writer.port).device) as line:
        prover = Prover(line)
        proven = prover.prove(image.address, found.mac, image.key)
        on_proven(proven)
        tell("prove", f"node {proven.address} has its key")
        clock.lap("prove")
        parts: list[Part] = []
        if test:
            tell("test")
            parts = prover.self_test(lambda text: tell("test", text))
            if not parts:
                parts = [Part("console", False, "the node does not answer to selftest")]
            elif "relay" in described.pins:
                tell("test", "clicks the relay")
                parts += prover.relay(lamp=lamp, meter="power_cf" in described.pins)
        if image.kind == "radio":
            prover.may_be_stopped()
        clock.lap("test")
    running = ""
    if image.kind == "radio":
        assert described.radio is not None
        tell("radio")
        with radio.at_prompt(writer.port, found.mac, described.radio, "not-switched") as prompt:
            parts.append(prompt.try_radio())
            clock.lap("radio")
            if all(part.passed for part in parts):
                tell("switch")
                prompt.finish(*image.last)
        if all(part.passed for part in parts):
            clock.lap("switch")
            running = radio.runs(writer.port, image.address, lambda text: tell("run", text))
            clock.lap("run")
    tell("done")
    return Report(
        port=writer.port.device,
        board=image.board,
        address=image.address,
        mac=found.mac,
        chip=found.name,
        flash_mb=found.flash_mb,
        firmware=image.firmware,
        firmware_sha256=image.firmware_sha256,
        image_sha256=image.sha256,
        image_bytes=image.size,
        written=written,
        proven=proven,
        parts=tuple(parts),
        times=clock.times,
        line="radio" if image.kind == "radio" else "wired",
        running=running,
    )


def provision(
    port: Port,
    board_id: str,
    config: Mapping[str, Any],
    keys: KeyStore,
    firmware: Path | firmwares.Firmware,
    on_progress: OnProgress = nobody,
    *,
    replace: bool = False,
    speeds: tuple[int, ...] = SPEEDS,
    test: bool = True,
    lamp: bool = False,
    line: str = "",
    on_chip: Callable[[Chip], int | None] = lambda _: None,
    on_proven: Callable[[Proven], None] = lambda _: None,
) -> Report:
    """A bare board to a proven node with a new random key.

    The key waits in the key store, under address and MAC, before the first byte is written, and is in force once the node
    has proved it: so one that is on a board is never lost, and one that is not is never listed. `on_chip` is called when
    the board is known, before anything is made or written: it may raise FlashError to refuse it, and name the address
    that this board has already in place of the configuration's. `replace`: an address that has a key may get another one. `line` is one of
    `image.LINES`, or empty: as the board file says. Raises FlashError.
    """
    clock = Clock()
    images.line_of(images.board(board_id), line)
    address = images.address_of(config)
    with Writer(port, on_progress) as writer:
        found = writer.chip
        chips.require(images.board(board_id), found)
        own = on_chip(found)
        if own is not None:
            address, replace = own, True
        clock.lap("connect")
        on_progress(Progress(port.device, "build", text=f"{found.name}, {found.flash_mb:g} MB, {found.mac}"))
        try:
            if not replace and keys.root(address) is not None:
                raise FlashError("address-taken", f"The address {address} has a key already: it belongs to a board.")
            key = keys.prepare(address, found.mac)
        except KeyStoreError as error:
            raise FlashError("key-store", error.sentence, error.remedy) from error
        image = images.build(board_id, {**config, "address": address}, key, firmware, line)
        clock.lap("build")

        def proven(what: Proven) -> None:
            try:
                keys.activate(address, found.mac)
            except KeyStoreError as error:
                raise FlashError(
                    "key-store", f"The node has proved its key, which stays pending: {error.sentence}", error.remedy
                ) from error
            on_proven(what)

        return flash(
            writer, image, on_progress, speeds=speeds, test=test, lamp=lamp, on_proven=proven, clock=clock
        )  # fmt: skip
