"""Command line: `python -m felinar_build app --board sim --out build/app`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from felinar_build import app as application
from felinar_build import board as boards_
from felinar_build import manifest as manifests
from felinar_build import readme as readmes
from felinar_build import wiring

cli = typer.Typer(no_args_is_help=True, help="Builds what a board carries.", pretty_exceptions_enable=False)
_out = Console()
_err = Console(stderr=True)

FOLDER = application.ROOT / "boards"
Board = Annotated[str, typer.Option(help="Board id, a folder in boards/.")]
Role = Annotated[str, typer.Option(help=f"What the board is to be: {' or '.join(application.ROLES)}.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object.")]
Check = Annotated[bool, typer.Option("--check", help="Write nothing; fail if the file is not what would be written.")]


@cli.command()
def app(
    board: Board = "sim",
    out: Annotated[Path, typer.Option(help="Folder to write; made anew.")] = Path("build/app"),
    mpy: Annotated[bool, typer.Option("--mpy/--py", help="Compile to .mpy, or copy the sources.")] = True,
    arch: Annotated[str | None, typer.Option(help="mpy-cross architecture; default from the board file.")] = None,
    role: Role = "lamp",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object with files and sizes.")] = False,
) -> None:
    """Build the application folder of a board.

    Example: python -m felinar_build app --board sim --out build/app
    Example: python -m felinar_build app --board heltec_v3 --role bridge
    """
    written = application.build(boards_.find(FOLDER, board), out, mpy=mpy, arch=arch, role=role)
    sizes = {str(path.relative_to(out)): path.stat().st_size for path in written}
    if as_json:
        typer.echo(json.dumps({"board": board, "out": str(out), "bytes": sum(sizes.values()), "files": sizes}))
    else:
        _out.print(f"{out}: {len(sizes)} files, {sum(sizes.values())} bytes for board {board}")


@cli.command()
def sizes(
    board: Board = "sim",
    arch: Annotated[str | None, typer.Option(help="mpy-cross architecture; default from the board file.")] = None,
    role: Role = "lamp",
    as_json: Json = False,
) -> None:
    """Tell how many bytes of .mpy each module of a board's lamp node, or bridge, takes.

    Example: python -m felinar_build sizes --board sim --arch xtensawin
    """
    found = application.sizes(board, arch, role)
    total = sum(found.values())
    parts: dict[str, int] = {}
    for place, size in found.items():
        parts[place.rpartition("/")[0] or "main"] = parts.get(place.rpartition("/")[0] or "main", 0) + size
    if as_json:
        typer.echo(json.dumps({"board": board, "bytes": total, "parts": parts, "modules": found}))
        return
    table = Table("module", "bytes", box=None, pad_edge=False)
    table.columns[1].justify = "right"
    for place, size in sorted(found.items(), key=lambda item: -item[1]):
        table.add_row(place, str(size))
    for part, size in parts.items():
        table.add_row(f"all of {part}", str(size), style="bold")
    table.add_row("total", str(total), style="bold")
    _out.print(table)


@cli.command()
def boards(
    readme: Annotated[bool, typer.Option("--readme", help="Write boards/README.md and docs/wiring.")] = False,
    check: Check = False,
    as_json: Json = False,
) -> None:
    """List the boards, or write boards/README.md and docs/wiring from them.

    Example: python -m felinar_build boards --readme
    """
    known = boards_.load_all(FOLDER)
    if readme:
        again = "python -m felinar_build boards --readme"
        _write(FOLDER / "README.md", readmes.render(known), check, again)
        for name, text in wiring.pages(known).items():
            _write(application.ROOT / "docs" / "wiring" / name, text, check, again)
    elif as_json:
        listed = [
            {"id": b.board.id, "name": b.board.name, "chip": b.board.chip, "flash_mb": b.board.flash_mb} for b in known
        ]
        typer.echo(json.dumps({"boards": listed}))
    else:
        for board in known:
            _out.print(f"{board.board.id:20} {board.board.chip:8} {board.board.name}", highlight=False)


@cli.command()
def manifest(check: Check = False) -> None:
    """Write firmware/manifest.py, which freezes the lamp node into an image of MicroPython."""
    board = boards_.load(boards_.find(FOLDER, "sim"))
    _write(manifests.TARGET, manifests.render(board), check, "python -m felinar_build manifest")


@cli.command()
def check(as_json: Json = False) -> None:
    """Check every board file and compile every firmware and protocol source for xtensawin and x64."""
    names = [board.board.id for board in boards_.load_all(FOLDER)]
    compiled = 0
    target = application.ROOT / "build" / "check"
    for top in ("firmware", "protocol"):
        for source in sorted((application.ROOT / top).rglob("*.py")):
            if source == manifests.TARGET:
                continue
            place = source.relative_to(application.ROOT / top)
            for arch in ("xtensawin", "x64"):
                application.compile_file(source, (target / arch / place).with_suffix(".mpy"), arch, str(place))
                compiled += 1
    if as_json:
        typer.echo(json.dumps({"boards": names, "compiled": compiled}))
    else:
        _out.print(f"{len(names)} board files are sound ({', '.join(names)}); {compiled} compilations passed")


def _write(path: Path, text: str, check: bool, command: str) -> None:
    where = path.relative_to(application.ROOT)
    if check:
        if not path.is_file() or path.read_text() != text:
            raise application.BuildError(f"{where} is not up to date: run `{command}`")
        _out.print(f"{where} is up to date")
    else:
        path.write_text(text)
        _out.print(f"{where} written")


def main() -> None:
    """Run the command line; failures end in one sentence and status 1."""
    try:
        cli()
    except (application.BuildError, boards_.BoardError) as error:
        _err.print(f"error: {error}", style="red", highlight=False, soft_wrap=True)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
