"""Runs a benchmark by its name: python -m felinar_bench NAME [--json] [--check]. Without a name it lists them."""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import sys
from pathlib import Path

from felinar_bench.figures import Figure, table


def names() -> list[str]:
    """The benchmarks: modules of this package that have `figures`."""
    found = []
    for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
        if "\ndef figures(" in (Path(__file__).parent / f"{module.name}.py").read_text():
            found.append(module.name.replace("_", "-"))
    return found


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="felinar_bench", description="Measures a part of Felinar and prints figures.", add_help=False
    )
    parser.add_argument("name", nargs="?", help=f"one of: {', '.join(names())}")
    parser.add_argument("--json", action="store_true", help="one JSON object a line instead of a table")
    parser.add_argument("--check", action="store_true", help="exit status 1 when a target is missed")
    name = parser.parse_known_args(arguments)[0].name
    parser.add_argument(
        "-h", "--help", action="help", help="show this message, with a name the options of that benchmark"
    )
    if name is not None and name not in names():
        parser.error(f"there is no benchmark called {name}; there are {', '.join(names())}")
    module = importlib.import_module(f"felinar_bench.{name.replace('-', '_')}") if name else None
    if hasattr(module, "options"):
        module.options(parser)  # type: ignore[union-attr]
    given = parser.parse_args(arguments)
    if module is None:
        print("\n".join(names()))  # noqa: T201
        return 0
    figures: list[Figure] = []
    for figure in module.figures(given) if hasattr(module, "options") else module.figures():
        figures.append(figure)
        if given.json:
            print(figure.json(), flush=True)  # noqa: T201
        elif sys.stderr.isatty():
            print(f"{figure.figure} …", file=sys.stderr, flush=True)  # noqa: T201
    if not given.json:
        print(table(figures))  # noqa: T201
    return int(given.check and not all(one.met for one in figures))


if __name__ == "__main__":
    sys.exit(main())
