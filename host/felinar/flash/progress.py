"""What happens while a board is flashed, told as it happens: for bars, for programs, for a ledger."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import msgspec

Stage = Literal["connect", "build", "write", "boot", "prove", "test", "radio", "switch", "run", "hello", "done"]
STAGES: dict[str, str] = {
    "connect": "boot loader",
    "build": "image",
    "write": "writing",
    "boot": "starting",
    "prove": "proof of its key",
    "test": "self-test",
    "radio": "its radio",
    "switch": "is put into service",
    "run": "running by radio",
    "hello": "its HELLO",
    "done": "done",
}


class Progress(msgspec.Struct, frozen=True):
    """One step: `part` of `whole` is done (bytes when writing, 0 of 0 where nobody can tell), `text` for people."""

    port: str
    stage: Stage
    part: int = 0
    whole: int = 0
    text: str = ""

    def json(self) -> dict[str, Any]:
        return {"event": "progress", **msgspec.to_builtins(self)}


OnProgress = Callable[[Progress], None]


def nobody(_: Progress) -> None:
    """For who does not want to know."""
