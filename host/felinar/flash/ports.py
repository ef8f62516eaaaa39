"""Which serial ports a board may be at, and how one is found again after its USB device has come back."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
from serial.tools import list_ports

from felinar.flash.catalogue import FlashError

VENDORS = {
    0x10C4: "Silicon Labs CP210x",
    0x1A86: "WCH CH34x or CH9102",
    0x0403: "FTDI",
    0x067B: "Prolific PL2303",
    0x303A: "Espressif, the chip's own USB",
    0x2886: "Seeed",
    0x239A: "RAKwireless or Adafruit boot loader",
}
"""USB vendor ids of the adapters on supported boards (usb.org's list of vendor ids)."""
BY_PATH = Path("/dev/serial/by-path")
BY_ID = Path("/dev/serial/by-id")


class Port(msgspec.Struct, frozen=True):
    """`device` is what is opened: a device or an rfc2217://host:port URL. `by_path` names the socket it is plugged into."""

    device: str
    vid: int | None = None
    pid: int | None = None
    serial: str | None = None
    by_path: str | None = None
    description: str = ""

    @property
    def remote(self) -> bool:
        return "://" in self.device


def find() -> list[Port]:
    """The ports of this machine that may have a board, by device; nothing is opened."""
    sockets = _sockets()
    return [
        Port(found.device, found.vid, found.pid, found.serial_number, sockets.get(os.path.realpath(found.device)),
             VENDORS.get(found.vid, found.description or ""))
        for found in sorted(list_ports.comports())
        if found.vid in VENDORS
    ]  # fmt: skip


def _sockets() -> dict[str, str]:
    try:
        return {os.path.realpath(link): str(link) for link in sorted(BY_PATH.iterdir())}
    except OSError:
        return {}


def named(device: str) -> Port:
    """The port that a user names: a device, a link to one, or a URL. Raises FlashError: port-gone."""
    if "://" in device:
        return Port(device, description="network")
    real = os.path.realpath(device)
    for port in find():
        if os.path.realpath(port.device) == real:
            return port
    if not os.path.exists(device):
        known = ", ".join(port.device for port in find()) or "none"
        raise FlashError("port-gone", f"There is no port {device}; boards are at: {known}.")
    return Port(device)


def only() -> Port:
    """The one port there is. Raises FlashError: no-port, several-ports."""
    found = find()
    if not found:
        raise FlashError("no-port")
    if len(found) > 1:
        raise FlashError("several-ports", f"Boards are at {', '.join(port.device for port in found)}.")
    return found[0]


def lasting(port: Port) -> str:
    """A name under which the device is found again whatever is plugged in before it: by its serial number, else by its socket, else as it is."""
    if port.remote:
        return port.device
    real = os.path.realpath(port.device)
    try:
        links = sorted(BY_ID.iterdir())
    except OSError:
        links = []
    by_id = next((str(link) for link in links if os.path.realpath(link) == real), None)
    return by_id or port.by_path or port.device


def again(
    port: Port, wait_s: float = 10.0, *, now: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep
) -> Port:  # fmt: skip
    """The port under the name it has now: a chip's own USB device goes and comes back with each reset.

    Raises FlashError: connection-lost, when it has not come back within `wait_s` seconds.
    """
    end = now() + wait_s
    while True:
        if port.remote or (port.by_path is None and os.path.exists(port.device)):
            return port
        if port.by_path and os.path.exists(port.by_path):
            real = os.path.realpath(port.by_path)
            return port if real == os.path.realpath(port.device) else msgspec.structs.replace(port, device=real)
        if now() >= end:
            raise FlashError("connection-lost", f"{port.device} has not come back after the reset.")
        sleep(0.1)
