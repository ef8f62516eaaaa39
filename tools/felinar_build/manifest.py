"""firmware/manifest.py: the lamp node's modules in MicroPython's manifest format, for an image that has them frozen in."""

from __future__ import annotations

from collections.abc import Iterable

from felinar_build import app, modules
from felinar_build.board import Board

TARGET = modules.ROOT / "firmware" / "manifest.py"

_TEXT = '''\
"""Freezes the lamp node into an image of MicroPython, for those who build their own (docs.micropython.org, "Manifest files").

Made by `python -m felinar_build manifest`. The manifest of your board includes this one after the port's own; `drivers` names
what is fitted, as the board file does:

    include("$(PORT_DIR)/boards/manifest.py")
    include("path/to/felinar/firmware/manifest.py", drivers="veml7700 sps30 ics43434")

/board.json and /config.json stay files: see docs/architecture.md.
"""

# What a manifest calls is put there by who runs it:
# pyright: reportUndefinedVariable=false

options.defaults(drivers="{fitted}")

# What each driver loads beside itself.
_NEEDS = {{
{needs}
}}

_drivers = {{{always}}}
for _name in options.drivers.split():
    _drivers |= {{_name, *_NEEDS[_name]}}

module("main.py", opt=2)
package(
    "node",
    files=({node}    ),
    opt=2,
)
package("drivers", files=[_name + ".py" for _name in sorted(_drivers)], opt=2)
package(
    "felinar_wire",
    files=({wire}    ),
    base_path="../protocol",
    opt=2,
)
'''


def _tuple(names: Iterable[str]) -> str:
    return "".join(f'\n        "{name}",' for name in names) + "\n"


def _loaded(board: Board, fitted: Iterable[str]) -> dict[str, list[str]]:
    """Files by package that a node loads which has these drivers."""
    wanted = list(fitted)
    plain = Board(board=board.board, pins=board.pins, fitted=[part for part in board.fitted if part.driver in wanted])
    found: dict[str, list[str]] = {"": [], "node": [], "drivers": [], "felinar_wire": []}
    for _, place in app.sources(plain):
        package, _, name = place.rpartition("/")
        found[package].append(name)
    return found


def render(board: Board) -> str:
    """The manifest whose default is what `board` has fitted."""
    bare = _loaded(board, ())
    always = {name.removesuffix(".py") for name in bare["drivers"]}
    needs = []
    for path in sorted((modules.ROOT / "firmware" / "drivers").glob("*.py")):
        if path.stem in always:
            continue
        loaded = modules.closure([f"drivers.{path.stem}"])
        beside = {name.removeprefix("drivers.") for name in loaded if name.startswith("drivers.")}
        beside -= {path.stem} | always
        listed = "".join(f'"{name}", ' for name in sorted(beside))
        needs.append(f'    "{path.stem}": ({listed.rstrip(" ") if len(beside) == 1 else listed.rstrip(", ")}),')
    return _TEXT.format(
        fitted=" ".join(dict.fromkeys(part.driver for part in board.fitted)),
        needs="\n".join(needs),
        always=", ".join(f'"{name}"' for name in sorted(always)),
        node=_tuple(bare["node"]),
        wire=_tuple(bare["felinar_wire"]),
    )
