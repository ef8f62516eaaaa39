"""Ports that may have a board, as a machine with some of them tells it; and the port that comes back."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from felinar.flash import ports
from felinar.flash.catalogue import FlashError
from felinar.flash.ports import Port
from serial.tools import list_ports
from serial.tools.list_ports_common import ListPortInfo


def plugged(device: Path, vid: int | None, pid: int = 0xEA60, serial: str | None = None) -> ListPortInfo:
    info = ListPortInfo(str(device), skip_link_detection=True)
    info.vid, info.pid, info.serial_number, info.description = vid, pid, serial, "a port"
    return info


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Path]]:
    """Plug devices in: (name, vendor) each; sockets are 1, 2, 3 in this order."""
    by_path = tmp_path / "by-path"
    by_path.mkdir()
    monkeypatch.setattr(ports, "BY_PATH", by_path)

    def plug(*devices: tuple[str, int | None]) -> list[Path]:
        found = []
        for i, (name, _) in enumerate(devices, 1):
            device = tmp_path / name
            device.touch()
            (by_path / f"usb-{i}").unlink(missing_ok=True)
            (by_path / f"usb-{i}").symlink_to(device)
            found.append(device)
        infos = [plugged(path, vid) for path, (_, vid) in zip(found, devices, strict=True)]
        monkeypatch.setattr(list_ports, "comports", lambda: infos)
        return found

    return plug


def code(work: Callable[[], object]) -> str:
    with pytest.raises(FlashError) as error:
        work()
    return error.value.code


def test_boards_are_told_from_other_ports_by_their_vendor(machine: Callable[..., list[Path]]) -> None:
    one, two, *_ = machine(("ttyUSB0", 0x10C4), ("ttyACM0", 0x303A), ("ttyS0", None), ("ttyACM1", 0x1234))
    found = ports.find()
    assert {port.device for port in found} == {str(one), str(two)}
    first = next(port for port in found if port.device == str(one))
    assert (first.vid, first.description) == (0x10C4, "Silicon Labs CP210x")
    assert first.by_path is not None
    assert first.by_path.endswith("usb-1")
    assert msgspec.json.decode(msgspec.json.encode(first), type=Port) == first


def test_only_one_is_taken_unasked(machine: Callable[..., list[Path]]) -> None:
    machine()
    assert code(ports.only) == "no-port"
    (one,) = machine(("ttyUSB0", 0x1A86))
    assert ports.only().device == str(one)
    machine(("ttyUSB0", 0x1A86), ("ttyUSB1", 0x1A86))
    assert code(ports.only) == "several-ports"


def test_a_port_may_be_named_by_any_of_its_names(machine: Callable[..., list[Path]], tmp_path: Path) -> None:
    one, *_ = machine(("ttyUSB0", 0x10C4))
    assert ports.named(str(tmp_path / "by-path" / "usb-1")).device == str(one)
    assert ports.named("rfc2217://127.0.0.1:4000").remote
    other = tmp_path / "other"
    other.touch()
    assert ports.named(str(other)) == Port(str(other))
    assert code(lambda: ports.named(str(tmp_path / "none"))) == "port-gone"


def test_a_chips_own_usb_is_found_again_under_another_name(machine: Callable[..., list[Path]]) -> None:
    (old,) = machine(("ttyACM0", 0x303A))
    port = ports.find()[0]
    now = [0.0]
    assert ports.again(port, now=lambda: now[0]) == port
    os.remove(old)
    gone = Path(str(port.by_path))
    gone.unlink()

    def comes_back(seconds: float) -> None:
        now[0] += seconds
        if now[0] > 2 and not gone.exists():
            machine(("ttyACM3", 0x303A))

    again = ports.again(port, now=lambda: now[0], sleep=comes_back)
    assert again.device.endswith("ttyACM3")
    assert 2 < now[0] < 3
    gone.unlink()
    now[0] = 100
    assert code(lambda: ports.again(port, now=lambda: now[0], sleep=lambda s: now.__setitem__(0, now[0] + s))) == (
        "connection-lost"
    )
