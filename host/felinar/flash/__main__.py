"""Writes the catalogue of failures into a page, between its marks: python -m felinar.flash docs/technician.md."""

from __future__ import annotations

import sys
from pathlib import Path

from felinar.flash.catalogue import table

BEGIN, END = "<!-- failures -->", "<!-- /failures -->"


def main(path: Path) -> None:
    """Put the table in place of the one that is there."""
    before, _, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    path.write_text(f"{before}{BEGIN}\n{table()}{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
