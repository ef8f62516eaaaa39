"""A node's configuration over its line: read from its console, sent in parts, tried by the node, and kept once it is back."""

from __future__ import annotations

import ast
import json
import re
from binascii import crc32
from collections.abc import Callable
from typing import Any, NamedTuple

from felinar_wire import core, schema

from felinar.care.errors import CareError, LineLost
from felinar.care.line import CareLine
from felinar.care.node import Node, Who, number
from felinar.flash.image import CONFIG_MOST

PART = 180
"""Bytes of configuration in a frame: with all around it, it fits the 250 that a node's console takes at once."""
RESTART_S = 60.0
"""The node restarts five seconds after the last part, and starts within a few more."""
KEPT_S = 20.0
_ANSWER_S = 3.0
_TRIES = 4
_ANSWER = re.compile(rb"config\r\n([0-9a-f]{4}) trial ([01]) bad (\[[^\r\n]*\])\r\n(.*)\r\n", re.DOTALL)

Progress = Callable[[int, int], None]


class Config(NamedTuple):
    """A configuration as a node has it: the value, its JSON, whether it is on trial, and names of values that are unusable."""

    value: dict[str, Any]
    text: bytes
    crc: int
    trial: bool
    bad: list[str]


def get(node: Node) -> Config:
    """The node's configuration. Raises CareError when it has none that can be read, or is about to try another one."""
    seen: list[tuple[int, bytes]] = []

    def whole(text: bytes) -> Config | None:
        match = _ANSWER.search(text)
        if match is None:
            return None
        crc, body = int(match[1], 16), match[4]
        if crc32(body) & 0xFFFF != crc:
            seen.append((crc, body))
            return None
        try:
            value = json.loads(body)
        except ValueError:
            value = {}
        return Config(value if isinstance(value, dict) else {}, body, crc, match[2] == b"1", _names(match[3]))

    try:
        return node.text("config", whole)
    except CareError:
        if not seen:
            raise
        raise CareError(
            "The node has another configuration waiting, which it tries with its next start.",
            "Wait ten seconds, until it has started, and try again.",
        ) from None


def _names(text: bytes) -> list[str]:
    try:
        found = ast.literal_eval(text.decode())
    except (ValueError, SyntaxError):
        return []
    return [str(name) for name in found]


def fitted(node: Node) -> list[str]:
    """The drivers of the node's sensors, in its board file's order."""
    return list(node.values())


def put(
    line: CareLine, node: Node, who: Who, value: dict[str, Any], told: Progress = lambda _a, _b: None,
    waits: Callable[[str], None] = lambda _: None,
) -> Config:  # fmt: skip
    """Have the node take a configuration: it tries it and keeps it once this host has answered its HELLO.

    Returns what is in force then. Raises CareError; unless that says otherwise the node has its old one.
    """
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    if len(text) > CONFIG_MOST:
        raise CareError(f"The configuration has {len(text)} bytes, and a node has room for {CONFIG_MOST}.")
    _send(node, who, text, told)
    waits("the node restarts with it")
    try:
        _meet_again(line, node, who)
        waits("the node is back; it keeps what it has if it has heard this host")
        found = _settled(node)
    except LineLost:
        raise CareError(
            "The line was lost while the node tried its new configuration.",
            "Nothing is broken: it goes back to its old one by itself in some minutes unless a host speaks to it. "
            "Plug it in and look: felinar backup PORT -",
        ) from None
    if found.crc != crc32(text) & 0xFFFF:
        raise CareError(
            "The node has gone back to its old configuration.",
            "It crashed, or was reset, while it tried the new one: look with felinar monitor PORT while you try again.",
        )
    return found


def _send(node: Node, who: Who, text: bytes, told: Progress) -> None:
    id, crc = number(), crc32(text)
    for at in range(0, len(text), PART):
        piece = text[at : at + PART]
        body = core.encode(core.LAYOUT[schema.CONFIG_PART], [id, at, len(text), crc, piece])
        last = at + PART >= len(text)
        code = None
        for _ in range(_TRIES):
            code = node.ask(schema.CONFIG_PART, who, body, wait_s=_ANSWER_S, result=id)
            if code is not None:
                break
        if code is None:
            raise CareError(
                "The node does not answer to a part of the configuration; nothing has changed.", "Try again."
            )
        if code == schema.RESULT_INVALID:
            raise CareError(
                "The node can't use a value of this configuration; nothing has changed.",
                "docs/architecture.md lists the keys and their ranges.",
            )
        if code != (schema.RESULT_APPLIED if last else schema.RESULT_MISSING):
            raise CareError(
                "The node refuses the configuration; nothing has changed.",
                "It has no partition for one, or it is trying one right now: then try again in ten minutes.",
            )
        told(min(at + PART, len(text)), len(text))


def _meet_again(line: CareLine, node: Node, who: Who) -> None:
    for left in (3, 2, 1, 0):
        try:
            node.meet(RESTART_S, beside=who.boot)
            return
        except LineLost:
            if not left:
                raise
            line.again()  # the chip's own USB device goes and comes back with each reset
        except CareError as error:
            raise CareError(
                f"The node has taken the configuration, but has not come back within {RESTART_S:.0f} s.",
                "It goes back to its old one by itself, after two resets or ten minutes, unless a host speaks to it with the "
                "new one. Tap RESET and look: felinar backup PORT -",
            ) from error


def _settled(node: Node) -> Config:
    """The configuration once it is no longer on trial."""
    found = get(node)
    for _ in range(int(KEPT_S)):
        if not found.trial:
            break
        node.rest(1.0)
        found = get(node)
    else:
        raise CareError(
            "The node has not kept its new configuration yet: it waits for a host to give it the time.",
            "Is this computer's clock set? See: felinar doctor",
        )
    return found
