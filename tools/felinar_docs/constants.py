"""Constants of the code by name, for the pages: of modules, and of the lines that define them in files that only MicroPython runs."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

from felinar_wire import schema

from felinar_docs import DocsError

ROOT = Path(__file__).parents[2]
_MODULES = {
    **{name: "felinar_air." + name for name in ("plan", "node", "host", "modem")},
    **{name: "felinar.air." + name for name in ("down", "orders", "cell")},
    "cable": "felinar.air.modem",
    "broadcast": "felinar.keys.broadcast",
}
"""What a page calls a module; any other name is one of felinar_wire."""
_FIRMWARE = {name: ROOT / "firmware" / "node" / f"{name}.py" for name in ("radio", "radio_link")}
_CONST = re.compile(r"^(_[A-Z_]+) = (?:const\((0x[0-9A-Fa-f]+|\d+)\)|schema\.([A-Z_]+)$)", re.MULTILINE)


def value(name: str, divisor: int = 1) -> str:
    """The text of `module.CONSTANT`, divided where a page speaks of a larger unit. Raises DocsError."""
    module, _, attribute = name.partition(".")
    try:
        if module in _FIRMWARE:
            found: object = _consts(module)[attribute]
        else:
            found = getattr(importlib.import_module(_MODULES.get(module, "felinar_wire." + module)), attribute)
    except (ImportError, AttributeError, KeyError) as error:
        raise DocsError(f"The code has no constant {name}.") from error
    if divisor == 1:
        return str(found)
    if not isinstance(found, int | float) or found % divisor:
        raise DocsError(f"{name}, which is {found}, is no multiple of {divisor}.")
    return str(int(found // divisor))


def _consts(name: str) -> dict[str, int]:
    found = _CONST.findall(_FIRMWARE[name].read_text())
    return {each: getattr(schema, word) if word else int(number, 0) for each, number, word in found}
