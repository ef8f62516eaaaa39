"""What a board says of its radio at its prompt, in words; and how a bridge is met, with a bridge of the test's own, in the test's own time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from felinar.care.errors import CareError, LineLost
from felinar.flash import bridge, radio
from felinar.flash.catalogue import FlashError
from felinar.flash.ports import Port
from felinar_air.modem import Modem
from felinar_build.board import Radio
from felinar_wire import serial
from mpremote.transport import TransportExecError

MAC = "a1b2c3d40001"
TCXO, CRYSTAL = Radio("sx1262", tcxo_mv=1800), Radio("sx1276")


class Prompt:
    """A board at its prompt: each program that it is sent is answered by the next of `answers`."""

    def __init__(self, *answers: object) -> None:
        self.answers = list(answers)
        self.transport = self
        self.files: dict[str, bytes] = {}

    def exec(self, program: str) -> bytes:
        compile(program, "sent", "exec")
        if "print" not in program and not isinstance(self.answers[0], Exception):
            return b""
        if isinstance(self.answers[0], Exception):
            raise self.answers[0]  # for good
        answer = self.answers.pop(0)
        return answer if isinstance(answer, bytes) else f"{answer}\r\n".encode()

    def write(self, path: str, data: bytes) -> None:
        if self.answers and isinstance(self.answers[0], Exception):
            raise self.answers.pop(0)  # type: ignore[misc]
        self.files[path] = data


def at(board: Any, about: Radio = TCXO) -> radio.AtPrompt:
    return radio.AtPrompt(board, MAC, about, "not-switched")


def said(at: str, why: str, **more: object) -> dict[str, object]:
    return {"uid": MAC, "at": at, "why": why, **more}


@pytest.mark.parametrize(
    ("about", "answer", "passed", "words"),
    [
        (TCXO, said("", "", busy=False), True, "sx1262 calibrated, hears; the channel is free"),
        (TCXO, said("", "", busy=True), True, "the channel is busy"),
        (TCXO, said("start", "NACK"), False, "it does not answer on SPI"),
        (TCXO, said("start", "IDENTITY"), False, "another chip answers"),
        (TCXO, said("start", "FAULT"), False, "look at its TCXO of 1800 mV"),
        (CRYSTAL, said("start", "FAULT"), False, "look at its crystal"),
        (TCXO, said("start", "TIMEOUT"), False, "its BUSY line stays high"),
        (TCXO, said("cad", "TIMEOUT"), False, "look at radio_irq"),
        (TCXO, said("listen", "RANGE"), False, "it does not stay in reception"),
        (TCXO, said("board", ""), False, "no reason at board"),
    ],
)
def test_what_is_wrong_with_a_radio_is_said(about: Radio, answer: object, passed: bool, words: str) -> None:
    part = at(Prompt(answer), about).try_radio()
    assert (part.name, part.passed) == ("radio", passed)
    assert words in part.detail


def failure(work: Callable[[], object]) -> tuple[str, str]:
    with pytest.raises(FlashError) as error:
        work()
    return error.value.code, error.value.sentence


def test_a_board_that_answers_something_else() -> None:
    assert failure(at(Prompt({**said("", ""), "uid": "0" * 12})).try_radio)[0] == "other-node"
    gone = TransportExecError(1, "Traceback:\r\nImportError: no module named 'drivers.sx126x'\r\n")
    assert failure(at(Prompt(gone)).try_radio) == (
        "radio",
        "The board says 'ImportError: no module named 'drivers.sx126x''.",
    )
    assert failure(at(Prompt(b"\xff{")).try_radio)[0] == "radio"


def test_the_last_file_is_there_or_the_failure_is_told() -> None:
    board = Prompt()
    at(board).finish("/board.json", b"{}")
    assert board.files == {"/board.json": b"{}"}
    code, sentence = failure(lambda: at(Prompt(CareError("The board has no room."))).finish("/board.json", b"{}"))
    assert (code, sentence) == ("not-switched", "/board.json could not be written: The board has no room.")
    with pytest.raises(LineLost):
        at(Prompt(LineLost("/dev/x"))).finish("/board.json", b"{}")


RUNNING = ["radio", 7, 6, 1, 0]


@pytest.mark.parametrize(
    ("answers", "code", "words", "waits"),
    [
        ([RUNNING], "", "node 7 listens, 6 s after its start", [8.0]),
        ([TransportExecError(1, "NameError: name 'app'"), RUNNING], "", "node 7 listens", [8.0, 25.0]),
        ([TransportExecError(1, "MemoryError: no room"), RUNNING], "", "node 7 listens", [8.0, 25.0]),
        ([CareError("It is mute."), CareError("It is mute.")], "not-running", "It is mute.", [8.0, 25.0]),
        ([["console", 7, 6, 1, 0]] * 2, "not-running", "its line is console, and its radio listens", [8.0, 25.0]),
        ([["radio", 7, 6, 0, 0]] * 2, "not-running", "its radio does not listen", [8.0, 25.0]),
        ([["radio", 7, 6, 1, 3]] * 2, "not-running", "its radio has failed 3 times", [8.0, 25.0]),
        ([["radio", 8, 6, 1, 0]] * 2, "not-running", "it is node 8", [8.0, 25.0]),
        ([LineLost("/dev/x")], "connection-lost", "/dev/x is gone", [8.0]),
    ],
)
def test_a_node_that_was_switched_over_is_seen_to_run(
    answers: list[Any], code: str, words: str, waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def prompt(device: str, *, running: bool) -> Iterator[Prompt]:
        assert running, "it is stopped where it is"
        if isinstance(answers[0], CareError):
            raise answers.pop(0)
        yield Prompt(answers.pop(0))

    monkeypatch.setattr("felinar.care.prompt.at_prompt", prompt)
    monkeypatch.setattr(radio, "_there", lambda port: port.device)
    answers, waited = list(answers), []
    if code:
        found, sentence = failure(lambda: radio.runs(Port("rfc2217://x:1"), 7, sleep=waited.append))
        assert found == code
    else:
        sentence = radio.runs(Port("rfc2217://x:1"), 7, sleep=waited.append)
    assert words in sentence
    assert waited == waits


class _Lora:
    """What `felinar_air.modem` needs of a radio that hears nothing."""

    RX, TX_DONE, BAD = 1, 2, 3
    DriverError = ValueError

    def poll(self) -> None:
        return None

    def configure(self, hz: int, sf: int, dbm: int) -> None:
        pass

    listen = configure


class Bridge:
    """A bridge at the end of a line: `felinar_air.modem` over a radio that hears nothing."""

    def __init__(self, *, starts_at: float = 1.0, mute: bool = False, deaf: bool = False, mac: str = MAC) -> None:
        self.now = 0.0
        self._starts_at, self._mute, self._deaf, self._said = starts_at, mute, deaf, False
        self._out = bytearray(b"ets Jul 29 2019 12:21:46\r\n")
        lora = _Lora()
        lora.listen = lambda: None  # type: ignore[assignment, misc]
        self._modem = Modem(lora, lora, self._say, lambda: int(self.now * 1e6), bytes.fromhex(mac), 2, 17)
        self._deframer = serial.Deframer(400)

    def _say(self, content: bytes) -> None:
        if not self._mute:
            self._out += b"\0" + serial.encode(content)

    def write(self, data: bytes) -> None:
        for content in self._deframer.feed(data):
            if not self._deaf:
                self._modem.take(content)

    def read(self, seconds: float) -> bytes:
        self.now += seconds
        if self.now >= self._starts_at:
            if not self._said:
                self._said = True
                self._modem.hello()
            self._modem.step(int(self.now * 1000))
        data = bytes(self._out)
        self._out.clear()
        return data


def meet(line: Bridge) -> bridge.Heard:
    return bridge.meet(line, MAC, now=lambda: line.now)


def test_a_bridge_is_met_by_its_own_hello_and_answers() -> None:
    heard = meet(Bridge())
    assert (heard.uid, heard.version, heard.chip, heard.dbm, heard.own) == (MAC, "0.1.0", "sx127x", 17, True)
    heard = meet(Bridge(starts_at=-1))
    assert heard.own
    late = Bridge(starts_at=bridge.OWN_S + 1)
    assert not meet(late).own, "it was asked"


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        (Bridge(mute=True), "bridge-silent", "says no HELLO within 20 s"),
        (Bridge(deaf=True), "bridge-silent", "answers no PING within 20 s"),
        (Bridge(mac="a1b2c3d40002"), "other-node", "The bridge at the line has chip a1b2c3d40002"),
    ],
)
def test_what_is_no_bridge_or_another(line: Bridge, code: str, words: str) -> None:
    found, sentence = failure(lambda: meet(line))
    assert found == code
    assert words in sentence
    assert line.now < 25
