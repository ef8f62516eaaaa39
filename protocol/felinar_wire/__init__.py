"""The language of Felinar: messages, bits, frames. The same files on MicroPython and CPython; integers only."""

from felinar_wire.errors import WireError

__all__ = ["WireError"]
