"""The file of a backup: readable, checked, refused when it is not what it was; and the console's answer that it comes from."""

from __future__ import annotations

import json
from binascii import crc32

import pytest
from felinar.care import backup, configure, keeping
from felinar.care.backup import Kept
from felinar.care.errors import CareError
from felinar.care.line import is_daemon
from felinar.care.node import Node, Who, nobody
from felinar_wire import core, frame, serial

CONFIG = {"address": 7, "name": "Calea Națională 1", "lamp": {"dim": [["23:00", 60]], "fade_s": 5}, "report_s": 60}
KEPT = Kept("lamp node", 7, "a1b2c3d40001", "0.1.0", 1, "0.1.0", "2026-11-24T18:00:00Z", ["bh1750"], CONFIG)
WHO = Who(7, "a1b2c3d40001", "0.1.0", 1, 3)


def test_a_file_is_readable_and_reads_back() -> None:
    text = backup.write(KEPT)
    assert "Calea Națională 1" in text
    assert len(text.splitlines()) > 20
    assert backup.read(text.encode(), "f") == KEPT


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "no backup of a node"),
        (b"\xff\xfe binary", "no backup of a node"),
        (b"[1, 2]", "no backup of a node"),
        (b'{"a": 1}', "no backup of a node"),
        (backup.write(KEPT).encode()[:-40], "damaged"),
        (backup.write(KEPT).replace('"report_s": 60', '"report_s": 61').encode(), "checksum is another"),
        (backup.write(KEPT).replace('"felinar_backup": 1', '"felinar_backup": 2').encode(), "newer Felinar"),
    ],
)
def test_what_is_no_sound_backup_is_refused(data: bytes, sentence: str) -> None:
    with pytest.raises(CareError, match=sentence):
        backup.read(data, "f")


def test_each_byte_that_differs_is_noticed() -> None:
    data = backup.write(KEPT).encode()
    for at in range(len(data)):
        if chr(data[at]).isalnum():
            other = data[:at] + (b"b" if data[at] != 98 else b"c") + data[at + 1 :]
            with pytest.raises(CareError):
                backup.read(other, "f")


def test_who_edits_a_file_says_so() -> None:
    data = backup.write(KEPT).replace('"report_s": 60', '"report_s": 61').encode()
    assert backup.read_changed(data, "f").config["report_s"] == 61
    for cut in (b"{", b"[]", b'{"felinar_backup": 1}', b'{"felinar_backup": 1, "node": {}, "config": 3}'):
        with pytest.raises(CareError):
            backup.read_changed(cut, "f")


def test_changes_are_told_by_key() -> None:
    new = {"address": 7, "name": "x", "lamp": {"dim": [], "fade_s": 5}, "lat": 1.5}
    assert backup.changes(CONFIG, new) == [
        ("name", '"Calea Națională 1"', '"x"'),
        ("lamp.dim", '[["23:00", 60]]', "[]"),
        ("report_s", "60", "-"),
        ("lat", "-", "1.5"),
    ]
    assert backup.changes(CONFIG, json.loads(json.dumps(CONFIG))) == []


def test_a_board_gets_only_what_suits_it() -> None:
    assert keeping.suits(KEPT, WHO, other_board=False) == CONFIG
    other = WHO._replace(address=9, uid="a1b2c3d40009")
    with pytest.raises(CareError, match=r"is of node 7 \(Calea Națională 1\)"):
        keeping.suits(KEPT, other, other_board=False)
    assert keeping.suits(KEPT, other, other_board=True) == {**CONFIG, "address": 9}
    bridge = Kept("bridge", 7, "a1b2c3d40001", "0.1.0", 1, "0.1.0", "", [], CONFIG)
    with pytest.raises(CareError, match="is of a bridge"):
        keeping.suits(bridge, WHO, other_board=True)
    newer = Kept("lamp node", 7, "a1b2c3d40001", "0.9.0", 2, "0.9.0", "", [], CONFIG)
    with pytest.raises(CareError, match="newer firmware"):
        keeping.suits(newer, WHO, other_board=False)


# The console's answer


class Line:
    """A line that says what the test wants; each read takes as long as it may."""

    device = "/dev/ttyTEST"

    def __init__(self, *said: bytes) -> None:
        self.said = list(said)
        self.tail = bytearray()
        self.now = 0.0

    def write(self, data: bytes) -> None:
        pass

    def read(self, seconds: float) -> bytes:
        self.now += seconds
        return self.said.pop(0) if self.said else b""


def node(*said: bytes) -> Node:
    line = Line(*said)
    return Node(line, now=lambda: line.now)  # type: ignore[arg-type]


def answered(text: bytes, crc: int | None = None) -> bytes:
    number = crc32(text) & 0xFFFF if crc is None else crc
    return b"config\r\n%04x trial 0 bad ['lat']\r\n%s\r\n" % (number, text)


def test_a_configuration_is_read_whole_however_it_comes() -> None:
    text = json.dumps(CONFIG, indent=1, ensure_ascii=False).encode().replace(b"\n", b"\r\n")
    data = b"\0" + bytes(serial.encode(b"\0" + frame.pack(0x34, 7, 1, b"x" * 20))) + answered(text)
    for size in (1, 7, 64, 4096):
        pieces = [data[at : at + size] for at in range(0, len(data), size)]
        line = Line(*pieces)
        found = configure.get(Node(line, now=lambda: 0.0))  # type: ignore[arg-type]
        assert (found.value, found.text, found.trial, found.bad) == (CONFIG, text, False, ["lat"])


def test_a_configuration_that_waits_or_does_not_come_is_told() -> None:
    with pytest.raises(CareError, match="another configuration waiting"):
        configure.get(node(answered(b"{}", crc=1)))
    with pytest.raises(CareError, match="does not answer to 'config'"):
        configure.get(node(b"config\r\nstatus, read\r\n"))
    assert configure.get(node(answered(b"", crc=0))).value == {}


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "Nothing answers at p"),
        (b"\r\n>>> \r\n>>> ", "MicroPython's prompt"),
        (b"rst:0x1\r\nwaiting for download\r\n", "in its boot loader"),
        (b"\0" + bytes(serial.encode(bytes((core.CREDIT, 8)))), "a radio bridge"),
        (b"ok T:21.3 B:60\r\nok T:21.4 B:60\r\n", "it says 'ok T:21.4 B:60'"),
        (bytes(range(128, 255)), "is its speed another"),
    ],
)
def test_who_is_there_instead_is_told(data: bytes, sentence: str) -> None:
    assert sentence in nobody("p", data).sentence


def test_a_daemon_is_known_by_its_command_line(tmp_path: object) -> None:
    from pathlib import Path

    proc = Path(str(tmp_path))
    lines = {
        1: "/usr/bin/python3\0/opt/felinar/bin/felinar\0daemon\0--port\0/dev/ttyUSB0\0",
        2: "python3\0-m\0felinar\0daemon\0",
        3: "/usr/bin/felinar\0monitor\0/dev/ttyUSB0\0",
        4: "/usr/sbin/some-daemon\0daemon\0",
    }
    for pid, text in lines.items():
        (proc / str(pid)).mkdir()
        (proc / str(pid) / "cmdline").write_text(text)
    assert [is_daemon(pid, proc=proc) for pid in (1, 2, 3, 4, 5)] == [True, True, False, False, False]
