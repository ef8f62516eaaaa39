"""Command line: `python -m felinar_build app --board sim --out build/app --mpy`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from felinar_build import app as application
from felinar_build import board as boards

cli = typer.Typer(no_args_is_help=True, help="Builds what a board carries.", pretty_exceptions_enable=False)
_out = Console()
_err = Console(stderr=True)


@cli.command()
def app(
    board: Annotated[str, typer.Option(help="Board id, a folder in boards/.")] = "sim",
    out: Annotated[Path, typer.Option(help="Folder to write; made anew.")] = Path("build/app"),
    mpy: Annotated[bool, typer.Option("--mpy/--py", help="Compile to .mpy, or copy the sources.")] = True,
    arch: Annotated[str | None, typer.Option(help="mpy-cross architecture; default from the board file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object with files and sizes.")] = False,
) -> None:
    """Build the application folder of a board.

    Example: python -m felinar_build app --board sim --out build/app
    """
    written = application.build(boards.find(application.ROOT / "boards", board), out, mpy=mpy, arch=arch)
    sizes = {str(path.relative_to(out)): path.stat().st_size for path in written}
    if as_json:
        typer.echo(json.dumps({"board": board, "out": str(out), "bytes": sum(sizes.values()), "files": sizes}))
    else:
        _out.print(f"{out}: {len(sizes)} files, {sum(sizes.values())} bytes for board {board}")


@cli.command()
def check(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Check every board file and compile every firmware and protocol source for xtensawin and x64."""
    folder = application.ROOT / "boards"
    names = sorted(p.parent.name for p in folder.glob("*/board.toml"))
    for name in names:
        boards.load(boards.find(folder, name))
    compiled = 0
    target = application.ROOT / "build" / "check"
    for top in ("firmware", "protocol"):
        for source in sorted((application.ROOT / top).rglob("*.py")):
            place = source.relative_to(application.ROOT / top)
            for arch in ("xtensawin", "x64"):
                application.compile_file(source, (target / arch / place).with_suffix(".mpy"), arch, str(place))
                compiled += 1
    if as_json:
        typer.echo(json.dumps({"boards": names, "compiled": compiled}))
    else:
        _out.print(f"{len(names)} board files are sound ({', '.join(names)}); {compiled} compilations passed")


def main() -> None:
    """Run the command line; failures end in one sentence and status 1."""
    try:
        cli()
    except (application.BuildError, boards.BoardError) as error:
        _err.print(f"error: {error}", style="red", highlight=False, soft_wrap=True)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
