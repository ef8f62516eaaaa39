"""The commands that look after a board: what they are called, what they take, and their examples."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from felinar.durations import seconds
from felinar.errors import FelinarError
from felinar.options import ConfigFile, DataDir

PANEL = "Care of a board"

Port = Annotated[
    str, typer.Argument(metavar="PORT", help="A device or rfc2217://host:port (felinar ports lists them).")
]
Baud = Annotated[int, typer.Option(min=300, max=4_000_000, help="Speed of the line, bit/s.")]
AsJson = Annotated[bool, typer.Option("--json", help="Write JSON, for programs.")]
Force = Annotated[bool, typer.Option("--force", help="Do it all the same.")]


def doctor(
    port: Annotated[
        list[str] | None, typer.Option("--port", "-p", metavar="PORT", help="Look at this port too. Repeatable.")
    ] = None,
    udev_rule: Annotated[
        bool, typer.Option("--udev-rule", help="Print the rule that lets users open the boards' ports, and end.")
    ] = False,
    config: ConfigFile = None,
    data_dir: DataDir = None,
    json: AsJson = False,
) -> None:
    """Look whether this computer is fit: versions, ports, disk, database, keys, clock, daemon. Changes nothing.

    Status 1 when something is wrong; warnings are only told.
    """
    if udev_rule:
        from felinar.care import machine

        sys.stdout.write(machine.udev_rule())
        return
    from felinar.care import doctor as work

    if not work.run(config, data_dir, port or [], json=json):
        raise typer.Exit(1)


def selftest(
    port: Port,
    relay: Annotated[
        bool, typer.Option("--relay/--no-relay", help="Click the relay: the lamp goes off and on.")
    ] = True,
    lamp: Annotated[bool, typer.Option("--lamp", help="A lamp hangs on the relay: its power must be seen.")] = False,
    wait: Annotated[str, typer.Option(metavar="TIME", help="How long parts may take to have a value.")] = "90s",
    baud: Baud = 115200,
    json: AsJson = False,
) -> None:
    """Test a node as flashing does: each sensor read, the relay clicked and read back. Status 1 when a part fails."""
    from felinar.care import selftest as work

    with _json_errors(json):
        if not work.run(port, relay=relay, lamp=lamp, wait_s=seconds(wait), json=json, baud=baud):
            raise typer.Exit(1)


def backup(
    port: Port,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to; - is the screen.")],
    force: Annotated[bool, typer.Option("--force", help="The file may exist: it is replaced.")] = False,
    baud: Baud = 115200,
) -> None:
    """Keep a node's configuration in a file that people can read. Keys and counters are not in it: they stay on the node."""
    from felinar.care import keeping

    kept = keeping.backup(port, file, force=force, baud=baud)
    if str(file) != "-":
        typer.echo(f"{file}: the configuration of {kept.name}, board {kept.uid}, firmware {kept.firmware}.")


def restore(
    port: Port,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What felinar backup wrote.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", "-n", help="Show what would change, and change nothing.")
    ] = False,
    other_board: Annotated[
        bool, typer.Option("--other-board", help="The backup is of another board: this one keeps its address.")
    ] = False,
    changed: Annotated[
        bool, typer.Option("--changed", help="The file was edited: its checksum does not count.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
    baud: Baud = 115200,
    json: AsJson = False,
) -> None:
    """Give a node the configuration of a backup. It tries it, keeps it once it is back, or goes back to its old one."""
    from felinar.care import keeping

    with _json_errors(json):
        keeping.restore(
            port, file, dry_run=dry_run, other_board=other_board, changed=changed, yes=yes, json=json, baud=baud
        )


def monitor(
    port: Port,
    silent: Annotated[bool, typer.Option("--silent", help="Say nothing: only listen.")] = False,
    for_: Annotated[str | None, typer.Option("--for", metavar="TIME", help="End after that long (60s, 10m).")] = None,
    hear: Annotated[
        float | None, typer.Option(min=863, max=870, metavar="MHZ", help="Of a bridge: have it listen there.")
    ] = None,
    sf: Annotated[int, typer.Option(min=7, max=12, help="With --hear: the spreading factor.")] = 7,
    keys: Annotated[bool, typer.Option("--keys/--no-keys", help="Open sealed frames with the key store.")] = True,
    config: ConfigFile = None,
    data_dir: DataDir = None,
    baud: Baud = 115200,
    json: AsJson = False,
) -> None:
    """Show what is on a line: frames with their fields, the board's log, and what was spoiled.

    A node is asked for its HELLO and given the time; nothing is acknowledged, so it keeps all for its own host.
    """
    from felinar import config as configuration
    from felinar.care import monitor as work

    order = work.Order(
        port=port, baud=baud, silent=silent, keys=keys, hear=None if hear is None else (hear, sf),
        seconds=None if for_ is None else seconds(for_), json=json,
    )  # fmt: skip
    with _json_errors(json):
        work.run(order, configuration.load(config, data_dir=data_dir))


def repl(
    port: Port,
    stay: Annotated[bool, typer.Option("--stay", help="Leave the board at its prompt in the end.")] = False,
    baud: Baud = 115200,
) -> None:
    """Stop the node and give MicroPython's prompt to this terminal. Ctrl-] leaves, and the node starts again."""
    from felinar.care import repl as work

    work.run(port, baud=baud, stay=stay)


def ls(
    port: Port,
    path: Annotated[str, typer.Argument(metavar="[PATH]", help="A folder of the board.")] = "/",
    baud: Baud = 115200,
    json: AsJson = False,
) -> None:
    """List files of a board. The node is stopped for it and starts again."""
    from felinar.care import files

    with _json_errors(json):
        files.ls(port, path, json=json, baud=baud)


def cat(port: Port, path: Annotated[str, typer.Argument(metavar="PATH", help="A file of the board.")], baud: Baud = 115200) -> None:  # fmt: skip
    """Show a file of a board. The node is stopped for it and starts again."""
    from felinar.care import files

    files.cat(port, path, baud=baud)


def cp(
    port: Port,
    source: Annotated[str, typer.Argument(metavar="FROM", help="A file; one of the board begins with a colon.")],
    target: Annotated[str, typer.Argument(metavar="TO", help="Where to; on the board it begins with a colon.")],
    force: Force = False,
    baud: Baud = 115200,
) -> None:
    """Copy a file to a board or from it. What the node needs to start is replaced with --force only."""
    from felinar.care import files

    files.cp(port, source, target, force=force, baud=baud)


def rm(
    port: Port,
    path: Annotated[str, typer.Argument(metavar="PATH", help="A file or an empty folder of the board.")],
    force: Force = False,
    baud: Baud = 115200,
) -> None:
    """Remove a file of a board. What the node needs to start is removed with --force only."""
    from felinar.care import files

    files.rm(port, path, force=force, baud=baud)


class _json_errors:
    """With --json an error is an object on standard output too, as all that a program reads."""

    def __init__(self, json: bool) -> None:
        self._json = json

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if self._json and isinstance(error, FelinarError):
            import msgspec

            told = {"error": error.sentence, "remedy": error.remedy}
            sys.stdout.write(msgspec.json.encode(told).decode() + "\n")
            raise typer.Exit(error.exit_status)


_EXAMPLES: dict[Callable[..., None], str] = {
    doctor: "felinar doctor   |   felinar doctor --json   |   felinar doctor --udev-rule",
    monitor: "felinar monitor /dev/ttyUSB0   |   felinar monitor /dev/ttyUSB0 --silent --for 10m --json",
    selftest: "felinar selftest /dev/ttyUSB0   |   felinar selftest rfc2217://127.0.0.1:4000 --lamp --json",
    backup: "felinar backup /dev/ttyUSB0 B-0042.json   |   felinar backup /dev/ttyUSB0 -",
    restore: "felinar restore /dev/ttyUSB0 B-0042.json --dry-run   |   felinar restore /dev/ttyUSB0 old.json --other-board",
    repl: "felinar repl /dev/ttyUSB0",
    ls: "felinar ls /dev/ttyUSB0   |   felinar ls /dev/ttyUSB0 /node --json",
    cat: "felinar cat /dev/ttyUSB0 config.json",
    cp: "felinar cp /dev/ttyUSB0 :config.json .   |   felinar cp /dev/ttyUSB0 notes.txt :notes.txt",
    rm: "felinar rm /dev/ttyUSB0 notes.txt",
}


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    for work, examples in _EXAMPLES.items():
        app.command(rich_help_panel=PANEL, epilog=f"Examples:  {examples}")(work)
