"""The daemon's configuration: one set of types that is its validation, its defaults and its documentation."""

from __future__ import annotations

import difflib
import ipaddress
import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_type_hints

import msgspec
import platformdirs

from felinar.errors import ConfigError

NODE_MIN, NODE_MAX = 1, 0xFFFE

Baud = Annotated[int, msgspec.Meta(ge=300, le=4_000_000)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=80)]
Pin = Annotated[str, msgspec.Meta(pattern="^[A-Z][A-Z0-9_]*$")]
Watts = Annotated[float, msgspec.Meta(gt=0, le=2000)]


class ControlConfig(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """`listen`: "unix" (a socket in the data directory), "unix:/path", or a loopback "host:port" with a token file."""

    listen: str = "unix"


class LogConfig(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """`format` "auto" is for people on a terminal and JSON elsewhere."""

    format: Literal["auto", "console", "json"] = "auto"
    level: Literal["debug", "info", "warning", "error"] = "info"


class LinkConfig(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """One line: `url` is a device path or a pySerial URL (socket://host:port, rfc2217://host:port); `baud` in bit/s."""

    url: Annotated[str, msgspec.Meta(min_length=1)]
    baud: Baud = 115200


class BridgeConfig(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """One radio bridge: `url` and `baud` as of a line, or `radio`: a module on this machine's own pins (a LoRa HAT on a Raspberry Pi).

    The pins of a radio are named as in Blinka's board module; those of Adafruit's LoRa bonnet are the default. `number` (0-11) is what nodes know it by; it tells when its superframe begins and, by its remainder of 3, the channel on which
    they speak to it: `frequency` in MHz, either of which says enough, or none. Bridges in each other's range need numbers whose
    remainders of 4 differ. `sf` is its spreading factor, which the daemon chooses by how its nodes are heard when it is not named; `power` in dBm
    is what it sends with, always on 869.525 MHz.
    """

    url: str = ""
    baud: Baud = 115200
    radio: Literal["rfm9x"] | None = None
    spi: Annotated[int, msgspec.Meta(ge=0, le=2)] = 0
    cs: Pin = "CE1"
    reset: Pin = "D25"
    dio0: Pin = "D22"
    number: Annotated[int, msgspec.Meta(ge=0, le=11)] | None = None
    frequency: float | None = None
    sf: Annotated[int, msgspec.Meta(ge=7, le=10)] | None = None
    power: Annotated[int, msgspec.Meta(ge=-9, le=27)] = 22

    @property
    def name(self) -> str:
        """What it is called in logs and answers: its url, or the place of its radio."""
        return self.url or f"{self.radio}:spi{self.spi}:{self.cs}"


class KeysConfig(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """`folder` is where the key store lies; the data directory when it is not named."""

    folder: str | None = None


class NodeConfig(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What is known of a node beforehand: its name, its lamp's power at full level in W (else learnt from reports)."""

    name: Name | None = None
    lamp_w: Watts | None = None


class Config(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The whole file. Everything has a default; `data_dir` is the platform's place for a user's data."""

    data_dir: str | None = None
    control: ControlConfig = ControlConfig()
    log: LogConfig = LogConfig()
    link: tuple[LinkConfig, ...] = ()
    bridge: tuple[BridgeConfig, ...] = ()
    keys: KeysConfig = KeysConfig()
    nodes: dict[int, NodeConfig] = {}

    @property
    def directory(self) -> Path:
        """Where database, socket and lock live."""
        return Path(self.data_dir).expanduser() if self.data_dir else platformdirs.user_data_path("felinar")

    @property
    def run(self) -> Path:
        """Where what only a running daemon needs lives: socket, token, address."""
        return self.directory / "run"


def default_path() -> Path:
    """The file that is read when none is named; it need not exist."""
    return platformdirs.user_config_path("felinar") / "felinar.toml"


def load(
    path: Path | None, *, ports: tuple[str, ...] = (), data_dir: Path | None = None, baud: int | None = None
) -> Config:
    """The configuration from a file (the default place when `path` is None), with the command line's values on top.

    Raises ConfigError with one sentence that names file, key and, for an unknown key, the nearest known one.
    """
    file = path or default_path()
    config = Config()
    if path is not None or file.exists():
        config = parse(_read(file), str(file))
    if data_dir is not None:
        config = msgspec.structs.replace(config, data_dir=str(data_dir))
    if ports:
        named = tuple(LinkConfig(url, baud or 115200) for url in ports)
        known = {link.url for link in named}
        config = msgspec.structs.replace(
            config, link=named + tuple(link for link in config.link if link.url not in known)
        )
    _check(config, "the command line" if ports else str(file))
    return config


def parse(text: str, where: str) -> Config:
    """The configuration in a TOML text; `where` names the text in errors. Raises ConfigError."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{where} is not valid TOML: {error}.", "Correct that line.") from None
    _check_keys(raw, Config, "", where)
    try:
        config = msgspec.convert(raw, Config, str_keys=True)
    except msgspec.ValidationError as error:
        text, _, key = str(error).partition(" - at `$")
        place = key.rstrip("`").lstrip(".") or "the file"
        raise ConfigError(
            f"{where}: {place}: {text[:1].lower()}{text[1:]}.", "docs/architecture.md lists the keys."
        ) from None
    _check(config, where)
    return config


def listen_address(listen: str, run: Path) -> Path | tuple[str, int]:
    """A socket's path, or loopback host and port. Raises ConfigError for anything that others could reach."""
    if listen == "unix":
        return run / "control.sock"
    if listen.startswith("unix:"):
        return Path(listen.removeprefix("unix:")).expanduser()
    host, separator, port = listen.rpartition(":")
    host = host.strip("[]")
    if not separator or not port.isdigit() or int(port) > 0xFFFF:
        raise ConfigError(
            f"control.listen: '{listen}' is no address.", 'Write "unix", "unix:/path/to.sock" or "127.0.0.1:8470".'
        )
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise ConfigError(
            f"control.listen: '{listen}' could be reached from other machines.",
            'Use "unix" or a loopback address such as "127.0.0.1:8470".',
        )
    return host, int(port)


def _read(file: Path) -> str:
    try:
        return file.read_bytes().decode()
    except UnicodeDecodeError:
        raise ConfigError(f"The configuration {file} is not UTF-8 text.", "Save it as UTF-8.") from None
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else str(error)
        raise ConfigError(
            f"The configuration {file} can't be read: {why.lower()}.", "Check its path and permissions."
        ) from None


def _check(config: Config, where: str) -> None:
    for node in config.nodes:
        if not NODE_MIN <= node <= NODE_MAX:
            raise ConfigError(f"{where}: nodes.{node}: a node's address is {NODE_MIN} to {NODE_MAX}.")
    for bridge in config.bridge:
        if bool(bridge.url) == bool(bridge.radio):
            raise ConfigError(
                f"{where}: a bridge has {'both a line and' if bridge.url else 'neither a line nor'} a radio of this machine.",
                'Give it either url = "/dev/ttyUSB0" or radio = "rfm9x".',
            )
        if len({bridge.cs, bridge.reset, bridge.dio0}) < 3:
            raise ConfigError(
                f"{where}: two lines of the bridge {bridge.name} are on one pin.", "cs, reset and dio0 need a pin each."
            )
    seen: set[str] = set()
    for url in [link.url for link in config.link] + [bridge.name for bridge in config.bridge]:
        if url in seen:
            raise ConfigError(f"{where}: the line {url} is named twice.", "Remove one of them.")
        seen.add(url)
    listen_address(config.control.listen, config.run)


def _check_keys(raw: Any, kind: Any, place: str, where: str) -> None:
    """Refuse keys that the types don't have, with the nearest one that they do."""
    if isinstance(raw, list):
        for i, item in enumerate(raw):
            _check_keys(item, next(iter(get_args(kind)), None), f"{place}[{i}]", where)
        return
    if not isinstance(raw, dict):
        return
    if not (isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
        kinds = get_args(kind)
        for key, item in raw.items():
            if kinds and kinds[0] is int and not key.isdigit():
                raise ConfigError(
                    f"{where}: {place.lstrip('.')}.{key}: a node is named by its address.", "Write nodes.1."
                )
            _check_keys(item, kinds[-1] if kinds else None, f"{place}.{key}", where)
        return
    hints = get_type_hints(kind)
    for key, item in raw.items():
        if key not in hints:
            near = difflib.get_close_matches(key, hints, 1)
            raise ConfigError(
                f"{where}: unknown key '{(place + '.' + key).lstrip('.')}'.",
                f"Did you mean '{near[0]}'?" if near else f"Known here: {', '.join(sorted(hints))}.",
            )
        _check_keys(item, hints[key], f"{place}.{key}", where)
