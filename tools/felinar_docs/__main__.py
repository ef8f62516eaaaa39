"""Command line of the page maker: `python -m felinar_docs` writes the pages, `--check` tells which is stale."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from felinar_docs import DocsError, page

PAGES: dict[str, Callable[[], str]] = {"docs/protocol.md": page.protocol}


def main(arguments: Sequence[str] | None = None, root: Path = page.ROOT) -> int:
    """The exit status: 1 when a page is stale (with --check) or can't be made."""
    parser = argparse.ArgumentParser(prog="felinar_docs", description="Make the pages that are made from code.")
    parser.add_argument("--check", action="store_true", help="only tell which page is not up to date")
    check = parser.parse_args(arguments).check
    stale = []
    try:
        for name, make in PAGES.items():
            path = root / name
            text = make()
            if path.is_file() and path.read_text() == text:
                continue
            if check:
                stale.append(name)
            else:
                path.write_text(text)
    except DocsError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    for name in stale:
        sys.stderr.write(f"{name} is not up to date: run `make docs`\n")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
