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
    parser = argparse.ArgumentParser(prog="felinar_bench", description="Measures a part of Felinar and prints figures.")
    parser.add_argument("name", nargs="?", help=f"one of: {', '.join(names())}")
    parser.add_argument("--json", action="store_true", help="one JSON object a line instead of a table")
    parser.add_argument("--check", action="store_true", help="exit status 1 when a target is missed")
    given = parser.parse_args(arguments)
    if given.name is None:
        print("\n".join(names()))  # noqa: T201
        return 0
    if given.name not in names():
        parser.error(f"there is no benchmark called {given.name}; there are {', '.join(names())}")
    module = importlib.import_module(f"felinar_bench.{given.name.replace('-', '_')}")
    figures: list[Figure] = []
    for figure in module.figures():
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
