"""Options that several commands of the command line have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", "-c", metavar="FILE", envvar="FELINAR_CONFIG", help="Configuration in TOML."),
]
DataDir = Annotated[
    Path | None,
    typer.Option("--data-dir", "-d", metavar="DIR", envvar="FELINAR_DATA_DIR", help="Where the daemon keeps its data."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Write JSON instead of a table.")]
