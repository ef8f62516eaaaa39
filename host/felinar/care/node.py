"""The host's side of a node's line for one command: who is there, what its console answers, other messages to it."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeVar

from felinar_wire import WireError, core, frame, schema, serial

from felinar.care.errors import CareError
from felinar.care.line import CareLine
from felinar.flash.prove import Prover
from felinar.flash.talk import Said, Talk, uid

T = TypeVar("T")
MEET_S = 12.0
"""A running node answers within two seconds; one that was just powered needs some more."""
_PROMPT_S = 0.7
_BRIDGE = (core.RX, core.TX_DONE, core.CREDIT, core.LOG, core.HEARTBEAT, core.BRIDGE_HELLO)


class Who(NamedTuple):
    """What a node says of itself: its address, its chip's id in hex, firmware, schema version and number of this boot."""

    address: int
    uid: str
    firmware: str
    schema: int
    boot: int


def plain(data: bytes) -> bytes:
    """What of a line's bytes is text: pieces between zeros that are no frames."""
    text = b""
    for piece in data.split(b"\0"):
        try:
            serial.decode(piece)
        except WireError:
            text += piece
    return text


def who_is_there(data: bytes) -> str:
    """ "bridge", "prompt", "loader", "" (nothing at all) or "other", by what came from a line on which no node said HELLO."""
    deframer = serial.Deframer(frame.LONGEST + 64)
    if any(content and content[0] in _BRIDGE for content in deframer.feed(data + b"\0")):
        return "bridge"
    text = plain(data)
    if b">>> " in text or b"raw REPL" in text:
        return "prompt"
    if b"waiting for download" in text:
        return "loader"
    return "other" if text.strip() else ""


def nobody(device: str, data: bytes) -> CareError:
    """Why a command can't be carried out at a line where no node has said HELLO."""
    found = who_is_there(data)
    if found == "bridge":
        return CareError(
            f"The board at {device} is a radio bridge, not a lamp node.", "Look at it with: felinar monitor PORT"
        )
    if found == "prompt":
        return CareError(
            f"At {device} is MicroPython's prompt: no lamp node speaks there.",
            "Tap RESET to start it; felinar repl opens the prompt.",
        )
    if found == "loader":
        return CareError(
            f"The board at {device} waits in its boot loader.", "Tap RESET, or write it with felinar flash."
        )
    if found == "other":
        lines = [line.strip() for line in plain(data).decode(errors="replace").splitlines()]
        last = next((line for line in reversed(lines) if line.isprintable() and line and "\ufffd" not in line), "")
        said = (
            f" it says '{last[:80]}'" if last else " what comes is neither frames nor text; is its speed another one?"
        )
        return CareError(
            f"No Felinar node is at {device}:{said}", "Name another port, or look with: felinar monitor PORT"
        )
    return CareError(
        f"Nothing answers at {device}.",
        "Is the board powered, and was it flashed? Tap RESET, and check the cable. A node that speaks by radio alone says "
        "nothing here; its files can be had: felinar ls PORT",
    )


class Speech(Talk):
    """With the messages that caring for a node needs beside."""

    def say(self, kind: int, address: int, payload: bytes) -> bytes:
        """The bytes of a frame, none of which would interrupt a node that is starting."""
        return self._frame(kind, address, payload)


class Node(Prover):
    """The conversation with the node at a line. Raises CareError, LineLost."""

    def __init__(
        self,
        line: CareLine,
        *,
        now: Callable[[], float] = time.monotonic,
        unix: Callable[[], float] = time.time,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        super().__init__(line, now=now, unix=unix, random=random)
        self._care = line
        self._speech = self._talk = Speech()

    def meet(self, wait_s: float = MEET_S, *, beside: int | None = None) -> Who:
        """The node that is there; it gets the time. `beside`: it must be another boot than that one."""
        for said in self._asking(self._talk.ask_hello, wait_s):
            if said.kind == schema.HELLO:
                self._give_time(said)
                found = _who(said)
                if found.boot != beside:
                    return found
        self._line.write(b"\r")
        self._wait(_PROMPT_S)
        raise nobody(self._care.device, bytes(self._care.tail))

    def text(self, command: str, find: Callable[[bytes], T | None], wait_s: float = 6.0) -> T:
        """What `find` makes of the text that the node's console answers, once it finds something. Raises CareError."""
        got = b""
        self._line.write(command.encode() + b"\r")
        end = self._now() + wait_s
        while self._now() < end:
            data = self._line.read(max(0.01, min(0.3, end - self._now())))
            got += data
            for said in self._talk.take(data):
                if said.kind == schema.HELLO:
                    self._give_time(said)
            if (found := find(plain(got))) is not None:
                return found
        raise CareError(
            f"The node does not answer to '{command}' as it should.",
            "Try again in half a minute; if it stays so, its firmware is another version: flash it anew.",
        )

    def ask(self, kind: int, who: Who, payload: bytes, *, wait_s: float, result: int) -> int | None:
        """Send a command once and wait for the code of the RESULT with that id; None when none came."""
        self._line.write(self._speech.say(kind, who.address, payload))
        for said in self._heard(wait_s):
            if said.kind == schema.RESULT and said.values.get("id") == result:
                return int(said.values["code"])
        return None

    def rest(self, seconds: float) -> None:
        """Let the node go on for a while, and give it the time when it asks."""
        self._wait(seconds)

    def _heard(self, wait_s: float) -> Iterator[Said]:
        end = self._now() + wait_s
        while (left := end - self._now()) > 0:
            for said in self._talk.take(self._line.read(min(left, 0.5))):
                if said.kind == schema.HELLO:
                    self._give_time(said)
                yield said


def number() -> int:
    """An id for a command: any, as nodes remember only their last few."""
    return random.randrange(1, 0xFFFF)


def _who(hello: Said) -> Who:
    values = hello.values
    version = "{major}.{minor}.{patch}".format(**values)
    return Who(hello.address, uid(hello), version, int(values["schema"]), int(values["boot"]))
