"""Loads pure node modules into CPython, where MicroPython's `const` is the identity."""

from __future__ import annotations

import importlib
import sys
import types
from typing import Any

from tests.support.micropython import FIRMWARE, PROTOCOL


def node(name: str) -> Any:
    """The module node.<name> of the firmware, under CPython."""
    return module(f"node.{name}")


def module(name: str) -> Any:
    """A module of the firmware by its dotted name, under CPython."""
    for folder in (str(FIRMWARE), str(PROTOCOL)):
        if folder not in sys.path:
            sys.path.insert(0, folder)
    if "micropython" not in sys.modules:
        stub = types.ModuleType("micropython")
        stub.const = lambda value: value  # type: ignore[attr-defined]
        sys.modules["micropython"] = stub
    return importlib.import_module(name)
