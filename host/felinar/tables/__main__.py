"""Writes the snapshot of this schema version: python -m felinar.tables snapshot [--release VERSION]."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from felinar.errors import FelinarError
from felinar.tables import snapshots


def main(arguments: Sequence[str] | None = None) -> int:
    """Do as the command line says; 0 when it is done, else 1 and why."""
    parser = argparse.ArgumentParser(prog="python -m felinar.tables", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    snapshot = commands.add_parser("snapshot", help="write the table of schema.VERSION beside the older ones")
    snapshot.add_argument("--release", metavar="VERSION", help="it goes out with this Felinar and is then frozen")
    snapshot.add_argument("--folder", type=Path, default=snapshots.FOLDER, help="where the snapshots lie")
    chosen = parser.parse_args(arguments)
    try:
        path = snapshots.write(chosen.folder, release=chosen.release)
    except FelinarError as error:
        sys.stderr.write(f"{error.sentence}\n{error.remedy}\n")
        return 1
    sys.stdout.write(f"{path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
