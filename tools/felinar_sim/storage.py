"""What a board's program asks of its flash and its key-value store: the requests, and how long each takes."""

from __future__ import annotations

from felinar_sim.flash import ERASE_US, Flash, Nvs
from felinar_sim.link import Answer, Frame

_NOT_FOUND = 4354  # 0x1102
_INVALID_LENGTH = 4364  # 0x110c
_LOOK_US = 50
_ENTRY = 32  # bytes of an entry of the store in flash


class Storage:
    """Handlers of the requests FLASH_* and NVS_*. What a cut interrupts raises PowerLost."""

    def __init__(self, flash: Flash, nvs: Nvs) -> None:
        self.flash = flash
        self.nvs = nvs

    def read(self, f: Frame, now: int) -> Answer:
        """FLASH_READ: a = address, b = bytes."""
        return Answer(0, self.flash.read(f.a, f.b), Flash.read_us(f.b))

    def write(self, f: Frame, now: int) -> Answer:
        """FLASH_WRITE: a = address."""
        self.flash.program(f.a, f.data)
        return Answer(0, b"", Flash.program_us(len(f.data)))

    def erase(self, f: Frame, now: int) -> Answer:
        """FLASH_ERASE: a = address of a block."""
        self.flash.erase(f.a)
        return Answer(0, b"", ERASE_US)

    def get(self, f: Frame, now: int) -> Answer:
        """NVS_GET: arg = kind (1 i32, 2 blob), b = room, data = namespace NUL key."""
        namespace, _, key = f.data.decode().partition("\0")
        value = self.nvs.get(namespace, key, f.arg)
        if value is None:
            return Answer(_NOT_FOUND, b"", _LOOK_US)
        if len(value) > f.b:
            return Answer(_INVALID_LENGTH, b"", _LOOK_US)
        return Answer(0, value, _LOOK_US)

    def set(self, f: Frame, now: int) -> Answer:
        """NVS_SET: arg = kind, data = namespace NUL key NUL value."""
        namespace, key, value = f.data.split(b"\0", 2)
        self.nvs.set(namespace.decode(), key.decode(), f.arg, value)
        return Answer(0, b"", 2 * Flash.program_us(_ENTRY))

    def forget(self, f: Frame, now: int) -> Answer:
        """NVS_ERASE: data = namespace NUL key."""
        namespace, _, key = f.data.decode().partition("\0")
        return Answer(0 if self.nvs.erase(namespace, key) else _NOT_FOUND, b"", Flash.program_us(_ENTRY))
