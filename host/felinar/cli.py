"""The command line: `felinar`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.console import Console

from felinar import config as configuration
from felinar.care.commands import register as register_care
from felinar.durations import moment, seconds
from felinar.errors import ClientError, ConfigError, FelinarError
from felinar.keys.commands import app as keys
from felinar.options import AsJson, ConfigFile, DataDir

if TYPE_CHECKING:
    from felinar import api
    from felinar.client import Client

app = typer.Typer(
    name="felinar",
    help="Looks after street lamps and the sensors on them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Status: 0 done, 1 it failed, 2 it was asked wrongly, 3 a lamp command ended otherwise, 4 it is still open.",
)

app.add_typer(keys, name="keys")

_MANY = "Many boards"
EXIT_OTHERWISE = 3
EXIT_STILL_OPEN = 4
_ENOUGH = ("measured", "refused", "expired", "failed", "superseded")


class Format(StrEnum):
    """How readings are written."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"


class FlashLine(StrEnum):
    """What a lamp node speaks through."""

    WIRED = "wired"
    RADIO = "radio"


class FlashRole(StrEnum):
    """What a board is flashed to be."""

    LAMP = "lamp"
    BRIDGE = "bridge"


class LampMode(StrEnum):
    """What a lamp is told."""

    ON = "on"
    OFF = "off"
    AUTO = "auto"
    DIM = "dim"


def _version(value: bool) -> None:
    if value:
        from felinar.daemon import installed_version

        typer.echo(f"felinar {installed_version()}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say the version.")
    ] = False,
) -> None:
    pass


@app.command(epilog="Examples:  felinar daemon --port /dev/ttyUSB0   |   felinar daemon -c felinar.toml")
def daemon(
    config: ConfigFile = None,
    data_dir: DataDir = None,
    port: Annotated[
        list[str] | None,
        typer.Option(
            "--port", "-p", metavar="URL", help="A line to a node: a device or socket://host:port. Repeatable."
        ),
    ] = None,
    baud: Annotated[int | None, typer.Option(help="Speed of the lines named with --port, bit/s.")] = None,
) -> None:
    """Collect, keep and command: runs until it is told to end (Ctrl-C, SIGTERM).

    A line named here must open, or the daemon does not start; one from the configuration is waited for.
    """
    import asyncio

    from felinar import daemon as daemon_
    from felinar import logs

    ports = tuple(port or ())
    settings = configuration.load(config, ports=ports, data_dir=data_dir, baud=baud)
    asyncio.run(daemon_.run(settings, logs.configure(settings.log), must_open=ports))


@app.command(epilog="Examples:  felinar live   |   felinar live --for 60 --svg street.svg")
def live(
    config: ConfigFile = None,
    data_dir: DataDir = None,
    for_: Annotated[str | None, typer.Option("--for", metavar="SECONDS", help="End after that long (60, 10m).")] = None,
    svg: Annotated[
        Path | None, typer.Option(metavar="FILE", help="At the end, save the table as an SVG picture.")
    ] = None,
) -> None:
    """Show the street as it is: a table on a terminal, a line for each reading elsewhere."""
    from felinar import show
    from felinar.live import watch

    span = None if for_ is None else _span(for_)
    with _client(config, data_dir) as client:
        try:
            nodes = watch(client, Console(), seconds=span)
        except KeyboardInterrupt:
            nodes = client.nodes()
        if svg:
            _save(lambda: show.save_svg(svg, nodes, time.time()), svg)


@app.command(epilog="Examples:  felinar nodes   |   felinar nodes --json")
def nodes(config: ConfigFile = None, data_dir: DataDir = None, json: AsJson = False) -> None:
    """List the nodes: where they are connected, and the account of their messages; and the bridges, where there are any."""
    from felinar import show

    with _client(config, data_dir) as client:
        found = client.nodes()
        bridges = [] if json else client.status().bridges
    if json:
        _write_json(found)
    else:
        _tables().print(show.node_table(found, time.time()))
        if bridges:
            _tables().print(show.bridge_table(bridges))


@app.command(
    epilog="Examples:  felinar readings --node 1 --since 2h   |   felinar readings --format csv > all.csv --since 7d"
)
def readings(
    config: ConfigFile = None,
    data_dir: DataDir = None,
    node: Annotated[str | None, typer.Option("--node", "-n", help="Only this node: its number or its name.")] = None,
    since: Annotated[
        str | None, typer.Option(help="From then on: 2h (ago), 2026-11-24, 2026-11-24T18:00Z. Without: the newest.")
    ] = None,
    until: Annotated[str | None, typer.Option(help="Before then, written the same way.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many; 20 unless --since is given.")] = None,
    format: Annotated[Format, typer.Option("--format", "-f", help="How they are written.")] = Format.TABLE,
) -> None:
    """Write readings, oldest first, in physical units.

    Missing values are a dash, empty or null; values beyond a sensor's range are < and >, or the words under and over.
    """
    from felinar import show

    now = time.time()
    start, end = (None if text is None else moment(text, now) for text in (since, until))
    newest = since is None
    if newest and limit is not None and limit > 10_000:
        raise ConfigError("The newest 10000 readings can be had at once.", "Say --since when you want more.")
    with _client(config, data_dir) as client:
        wanted = None if node is None else _node(client, node)
        found = client.readings(
            node=wanted, since=start, until=end, limit=limit or (20 if newest else None), newest=newest
        )
        if format is Format.CSV:
            show.write_csv(found, sys.stdout)
        elif format is Format.JSON:
            _write_json(list(found))
        else:
            _tables().print(show.reading_table(found))


@app.command(
    epilog="Examples:  felinar lamp 1 dim 60 --for 30m --wait   |   felinar lamp 'Strada Unirii 1' auto   |   "
    "felinar lamp --group centru on"
)
def lamp(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="[NODE] on|off|auto|dim [LEVEL]",
            help="The node's number or name; what it is told (auto returns it to its own schedule); with dim the level in %.",
        ),
    ],
    group: Annotated[
        str | None,
        typer.Option("--group", "-g", metavar="GROUP", help="All lamps of a group, by radio, in place of a node."),
    ] = None,
    config: ConfigFile = None,
    data_dir: DataDir = None,
    for_: Annotated[str, typer.Option("--for", metavar="TIME", help="How long it holds: 90s, 30m, 2h.")] = "30m",
    fade: Annotated[str, typer.Option(metavar="TIME", help="Over how long the level changes.")] = "0s",
    reason: Annotated[str, typer.Option(help="Kept with the command: maintenance, emergency or any words.")] = "",
    wait: Annotated[
        bool, typer.Option("--wait", "-w", help="Wait until the lamp's power says that it worked.")
    ] = False,
    timeout: Annotated[str, typer.Option(metavar="TIME", help="With --wait: no longer than that.")] = "5m",
    json: AsJson = False,
) -> None:
    """Command a lamp for a while. The command is stored, and given as soon as the node can be reached.

    A group goes by its name in the plan or its address (felinar keys zones). Its lamps are told for a minute, by every
    bridge; nobody answers: "on" acts at once, off and dim after 20 s.
    """
    from felinar import api

    node, mode, level = _lamp_words(words, group)
    if mode is LampMode.DIM and level is None:
        raise ConfigError("A lamp is dimmed to a level.", "Say for example: felinar lamp 1 dim 60")
    if mode is not LampMode.DIM and level is not None:
        raise ConfigError(f"'{mode}' has no level.", "Leave the level out, or say dim.")
    order = api.LampOrder(
        mode=mode.value,
        level=level,
        for_s=None if mode is LampMode.AUTO else _span(for_),
        fade_s=_span(fade),
        reason=reason,
    )
    patience = _span(timeout)
    if group is not None:
        if wait:
            raise ConfigError("The lamps of a group do not answer.", "Leave --wait out, and look at: felinar live")
        with _client(config, data_dir) as client:
            said = client.group_lamp(group, order)
        if json:
            _write_json(said)
        else:
            dimmed = f" {level} %" if level is not None else ""
            typer.echo(f"group {said.group}, {said.mode}{dimmed}: being said by {', '.join(said.bridges)}")
        return
    with _client(config, data_dir) as client:
        command = client.lamp(_node(client, node), order)
        if wait:
            command = _wait(client, command, patience, quiet=json)
    if json:
        _write_json(command)
    else:
        typer.echo(_told(command))
    if command.state in _ENOUGH and command.state != "measured":
        raise typer.Exit(EXIT_OTHERWISE)
    if wait and command.state != "measured":
        raise typer.Exit(EXIT_STILL_OPEN)


@app.command(
    epilog="Examples:  felinar flash --board heltec_v3   |   felinar flash --watch --plan poles.csv --board heltec_v3   |   "
    "felinar flash --board heltec_v3 --line radio   |   felinar flash --board heltec_v3 --role bridge   |   felinar flash --status"
)
def flash(
    board: Annotated[
        str, typer.Option("--board", "-b", metavar="ID", help="Board file: `felinar flash --board ?` lists them.")
    ] = "",
    port: Annotated[
        list[str] | None,
        typer.Option(
            "--port", "-p", metavar="PORT", help="A device or rfc2217://host:port; else what there is. Repeatable."
        ),
    ] = None,
    firmware: Annotated[
        Path | None, typer.Option(metavar="FILE", help="MicroPython's image; else that of the cache, downloaded once.")
    ] = None,
    address: Annotated[int, typer.Option(min=0, max=65534, help="The node's; else the next that is free.")] = 0,
    line: Annotated[
        FlashLine | None,
        typer.Option(help="What a lamp node speaks through: its cable, or its radio; else as plan or board file say."),
    ] = None,
    role: Annotated[
        FlashRole, typer.Option(help="What the board is to be: a lamp node, or a radio bridge.")
    ] = FlashRole.LAMP,
    name: Annotated[str, typer.Option(help="The node's name, for people.")] = "",
    lat: Annotated[float | None, typer.Option(min=-90, max=90, help="Degrees north.")] = None,
    lon: Annotated[float | None, typer.Option(min=-180, max=180, help="Degrees east.")] = None,
    node_config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="More of its configuration, in JSON.")
    ] = None,
    baud: Annotated[int | None, typer.Option(min=9600, help="Fastest speed that is tried, bit/s.")] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="The address (or pole) may have a board already: this one gets it.")
    ] = False,
    lamp: Annotated[bool, typer.Option("--lamp", help="A lamp hangs on the relay: its power must be seen.")] = False,
    test: Annotated[bool, typer.Option("--test/--no-test", help="Read each sensor and click the relay.")] = True,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", rich_help_panel=_MANY, help="Flash every board that is plugged in.")
    ] = False,
    plan: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", rich_help_panel=_MANY, help="With --watch: the poles, in CSV; else all that wait."
        ),
    ] = None,
    encoding: Annotated[
        str | None, typer.Option(rich_help_panel=_MANY, help="The plan's, if it is not UTF-8: cp1250, cp1252.")
    ] = None,
    pole: Annotated[
        str | None, typer.Option(rich_help_panel=_MANY, help="With --watch: this pole is for the next board.")
    ] = None,
    once: Annotated[
        bool,
        typer.Option("--once", rich_help_panel=_MANY, help="With --watch: end when what is plugged in is through."),
    ] = False,
    city: Annotated[
        str | None, typer.Option(rich_help_panel=_MANY, help="With --watch: whose time the lamps keep; else by place.")
    ] = None,
    status: Annotated[
        bool, typer.Option("--status", rich_help_panel=_MANY, help="Show how far each pole is, and end.")
    ] = False,
    free: Annotated[
        str | None, typer.Option(metavar="POLE", rich_help_panel=_MANY, help="Take a pole from a board that failed.")
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(metavar="FILE", rich_help_panel=_MANY, help="Write the labels into a PDF.")
    ] = None,
    label_size: Annotated[
        str, typer.Option(metavar="SIZE", rich_help_panel=_MANY, help="a4 (3 x 8 on a sheet), or a roll's: 62x29 (mm).")
    ] = "a4",
    label_skip: Annotated[
        int, typer.Option(min=0, rich_help_panel=_MANY, help="Places of the first sheet that are used already.")
    ] = 0,
    example: Annotated[
        bool, typer.Option("--example", rich_help_panel=_MANY, help="Print an example of a plan.")
    ] = False,
    config: ConfigFile = None,
    data_dir: DataDir = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line, the last one is the result.")] = False,
) -> None:
    """Flash a board: firmware, application, configuration, a fresh key; done when the node has proved it.

    With --watch every board that is plugged in, several at once, each for the next pole of a plan.

    With --line radio the node is proven through its cable, radio and all, switched over, and seen to run by radio. With --role bridge
    the board becomes a radio bridge: it has no key, and is done when it has said HELLO.
    """
    settings = configuration.load(config, data_dir=data_dir)
    if example or status or free or labels or watch or plan:
        from felinar.provision import command as many

        if example:
            many.example()
        elif status:
            many.status(settings, json=json, poles=[pole] if pole else None)
        elif free:
            many.free(settings, free)
        elif labels:
            many.print_labels(settings, labels, size=label_size, skip=label_skip, poles=[pole] if pole else ())
        elif role is FlashRole.BRIDGE:
            raise ConfigError(
                "A bridge is at no pole of a plan.", "Flash it alone: felinar flash --board ID --role bridge."
            )
        elif not watch:
            raise ConfigError("A plan is for many boards.", "Say --watch too, and --once if it shall end by itself.")
        else:
            batch = many.Order(
                plan=plan, encoding=encoding, ports=port or (), board=board, firmware=firmware, node_config=node_config,
                city=city, pole=pole, replace=replace, once=once, test=test, lamp=lamp, line=line or "", baud=baud, json=json,
            )  # fmt: skip
            raise typer.Exit(many.batch(settings, batch))
        return
    if not board:
        raise ConfigError("Which board is it?", "Say --board ID; `felinar flash --board ?` lists the board files.")
    if port and len(port) > 1:
        raise ConfigError("One board is flashed at a time.", "Name one port, or say --watch.")
    if role is FlashRole.BRIDGE and (
        line or address or name or node_config or lat is not None or lon is not None or lamp
    ):
        raise ConfigError(
            "A bridge has neither line, address, name, place, lamp nor configuration.",
            "Say --board, --port, --firmware alone.",
        )
    from felinar.flash import command

    order = command.Order(
        board=board, port=port[0] if port else None, firmware=firmware, address=address, name=name, lat=lat, lon=lon, node_config=node_config,
        baud=baud, replace=replace, test=test, lamp=lamp, json=json, line=line or "", role=role,
    )  # fmt: skip
    raise typer.Exit(command.run(settings, order))


@app.command(epilog="Examples:  felinar ports   |   felinar ports --json")
def ports(json: AsJson = False) -> None:
    """List the serial ports that may have a board."""
    from felinar.flash import command

    command.list_ports(json)


register_care(app)


def _lamp_words(words: list[str], group: str | None) -> tuple[str, LampMode, int | None]:
    """Node (empty for a group), mode and level. Raises ConfigError."""
    node, rest = ("", words) if group is not None else (words[0], words[1:])
    if not 1 <= len(rest) <= 2:
        raise ConfigError("A lamp is told one thing.", "Say for example: felinar lamp 1 dim 60")
    if rest[0] not in list(LampMode):
        raise ConfigError(f"'{rest[0]}' is nothing that a lamp is told.", "Say on, off, auto, or dim with a level.")
    if len(rest) == 1:
        return node, LampMode(rest[0]), None
    if not rest[1].isdecimal() or not 1 <= int(rest[1]) <= 100:
        raise ConfigError(f"'{rest[1]}' is no level.", "A lamp is dimmed to 1 to 100 %.")
    return node, LampMode(rest[0]), int(rest[1])


def _wait(client: Client, command: api.Command, patience_s: float, *, quiet: bool) -> api.Command:
    end = time.monotonic() + patience_s
    state = command.state
    while command.open and time.monotonic() < end:
        time.sleep(0.25)
        command = client.command(command.id)
        if command.state != state and command.open and not quiet:
            typer.echo(_told(command))
        state = command.state
    return command


def _told(command: api.Command) -> str:
    what = command.mode or f"{command.key} = {command.value}"
    level = f" {command.level} %" if command.level is not None else ""
    why = f" ({command.detail})" if command.detail else ""
    return f"command {command.id}, node {command.node}, {what}{level}: {command.state}{why}"


def _client(config: Path | None, data_dir: Path | None) -> Client:
    from felinar.client import Client, find

    return Client(find(configuration.load(config, data_dir=data_dir)))


def _node(client: Client, text: str) -> int:
    if text.isdigit():
        return int(text)
    known = client.nodes()
    for node in known:
        if (node.name or "").casefold() == text.casefold():
            return node.node
    names = ", ".join(f"{node.node} {node.name or ''}".strip() for node in known) or "none yet"
    raise ClientError(f"No node is called '{text}'.", f"Known: {names}.")


def _span(text: str) -> int:
    return int(text) if text.isdigit() else seconds(text)


def _tables() -> Console:
    """A console that does not squeeze tables where nobody has set a width."""
    console = Console()
    return console if console.is_terminal else Console(width=160)


def _write_json(what: object) -> None:
    import msgspec

    sys.stdout.write(msgspec.json.format(msgspec.json.encode(what), indent=1).decode() + "\n")


def _save(work: Callable[[], None], file: Path) -> None:
    try:
        work()
    except OSError as error:
        raise ConfigError(
            f"{file} can't be written: {(error.strerror or str(error)).lower()}.", "Name another file."
        ) from error


def main() -> NoReturn:
    """Run the command line; every error ends with one sentence and what to do about it."""
    try:
        app()
    except FelinarError as error:
        sys.stderr.write(f"felinar: {error.sentence}\n")
        if error.remedy:
            sys.stderr.write(f"  {error.remedy}\n")
        sys.exit(error.exit_status)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
    sys.exit(0)
