"""docs/protocol.md out of `protocol.in.md`, the tables and the prose."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from felinar.session import RING
from felinar.tables.history import FIXED
from felinar_wire import codec, core, frame, kept, schema, serial
from felinar_wire.aes import Ccm
from felinar_wire.session import nonce

from felinar_docs import DocsError, air, constants, messages, words

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[1]
_HOLE = re.compile(r"\{\{(=?)([a-z_A-Z.0-9]+)\}\}")
_REASON = re.compile(r'(?:WireError\(|_drop\(|count\([\w.]*counts, |reason = )"([a-z_]+)"')
_SEALED = (bytes(range(16)), 5, 66, 16)
_PART_FRONT = len(core.encode(core.LAYOUT[schema.CONFIG_PART], [0, 0, 0, 0, b""]))


def protocol() -> str:
    """The whole page. Raises DocsError where prose and tables don't agree."""
    blocks: dict[str, Callable[[], str]] = {
        "kinds": lambda: "\n".join(messages.overview()),
        "messages": lambda: "\n".join(messages.messages()).rstrip(),
        "bridge": lambda: "\n".join(messages.bridge()).rstrip(),
        "words": lambda: "\n".join(_words()).rstrip(),
        "fixed": _fixed,
        "session_cores": _session_cores,
        "reasons": lambda: "\n".join(_reasons()),
        "line_example": lambda: "\n".join(_line()),
        "seal_example": lambda: "\n".join(_seal()),
        "seal_key": lambda: _SEALED[0].hex(),
        "seal_address": lambda: str(_SEALED[1]),
        "seal_counter": lambda: str(_SEALED[2]),
        "seal_seq": lambda: str(_SEALED[3]),
        "crc_text": lambda: messages.hashed(schema.TIME_REQ),
        "crc_value": lambda: str(schema.crc(schema.TIME_REQ)),
        "longest_serial": lambda: str(frame.LONGEST + 1),
        "longest_payload": lambda: str(frame.LONGEST - frame.HEADER),
        "longest_telemetry": lambda: str(frame.LONGEST - frame.HEADER - frame.tag_length(schema.REPORT)),
        "longest_command": lambda: str(frame.LONGEST - frame.HEADER - frame.tag_length(schema.LAMP_SET)),
        "part_wired": lambda: str(_part()),
        "part_sealed": lambda: str(frame.LONGEST - frame.HEADER - frame.tag_length(schema.CONFIG_PART) - _PART_FRONT),
        "tag_telemetry": lambda: str(frame.tag_length(schema.REPORT)),
        "tag_command": lambda: str(frame.tag_length(schema.LAMP_SET)),
    }

    blocks["air"] = lambda: _fill("air.in.md", {**blocks, **air.blocks()}).rstrip()
    return _fill("protocol.in.md", blocks)


def _fill(name: str, blocks: dict[str, Callable[[], str]]) -> str:
    """A file of prose with its places filled: those of constants, and those that have a block."""

    def fill(hole: re.Match[str]) -> str:
        constant, place = hole.groups()
        if constant:
            return constants.value(place)
        if place not in blocks:
            raise DocsError(f"{name} has a place {place} that nothing fills.")
        return blocks[place]()

    return _HOLE.sub(fill, (FOLDER / name).read_text())


def _fixed() -> str:
    return ", ".join(name for name, kind in messages.kinds().items() if kind in FIXED)


def _part() -> int:
    """Bytes of a CONFIG_PART's data that the longest serial frame to a chip's console has room for."""
    size = 0
    while len(serial.encode(bytes((core.FRAME,)) + b"x" * (frame.HEADER + _PART_FRONT + size + 1))) <= RING:
        size += 1
    return size


def _session_cores() -> str:
    """The messages of whole bytes whose CRC a session knows."""
    known = []
    for name, kind in messages.kinds().items():
        if kind in core.LAYOUT:
            try:
                schema.crc(kind)
            except KeyError:
                continue
            known.append(name)
    return " and ".join(known)


def _words() -> Iterator[str]:
    names = {name for name, value in vars(schema).items() if name.isupper() and name.isidentifier() and name[0] != "_"}
    names -= {*messages.kinds(), *words.OTHERS}
    for prefix, (used, known) in words.VOCABULARIES.items():
        numbers = {name: getattr(schema, prefix + name, None) for name in known}
        for name, value in numbers.items():
            if value is None:
                raise DocsError(f"words.py speaks of {prefix}{name}, which is gone.")
            names.discard(prefix + name)
        yield f"### {prefix}*"
        yield ""
        yield f"{used}."
        yield ""
        argument = any("|" in text for text in known.values())
        yield from messages.head("number", "name", "meaning", *(("argument",) if argument else ()))
        for name, value in sorted(numbers.items(), key=lambda item: str(item[1]).zfill(5)):
            meaning = [part.strip() for part in known[name].split("|")]
            if argument and len(meaning) != 2:
                raise DocsError(f"words.py says nothing of the argument of {prefix}{name}.")
            yield messages.row(value, name, *meaning)
        yield ""
    if names:
        raise DocsError(f"words.py says nothing of {min(names)}.")


def _reasons() -> Iterator[str]:
    sources = [*(ROOT / "protocol" / "felinar_wire").glob("*.py"), ROOT / "host" / "felinar" / "wire_batch.py"]
    found = {reason for source in sources for reason in _REASON.findall(source.read_text())}
    for reason in sorted(found - set(words.REASONS)):
        raise DocsError(f"words.py says nothing of the reason {reason}.")
    for reason in sorted(set(words.REASONS) - found):
        raise DocsError(f"words.py speaks of the reason {reason}, which is gone.")
    yield from messages.head("reason", "says")
    for reason, meaning in words.REASONS.items():
        yield messages.row(f"`{reason}`", meaning)


def _line() -> Iterator[str]:
    body = codec.encode(schema.QUERY, messages.values_of("QUERY"))
    data = frame.pack(schema.QUERY, 5, 7, body)
    content = bytes((core.FRAME,)) + data
    whole = serial.encode(content)
    crc = int.from_bytes(_uncobs(whole)[-4:], "little")
    yield f"For example the QUERY shown [below](#query), HEALTH, to node 5, in a frame with counter 7 (`{data.hex()}`): data `{content.hex()}`,"
    yield f"CRC-32 0x{crc:08x}, on the line `{whole.hex()}`."


def _uncobs(line: bytes) -> bytes:
    out = b""
    at = 0
    while line[at]:
        out += line[at + 1 : at + line[at]] + b"\0"
        at += line[at]
    return out[:-1]


def _seal() -> Iterator[str]:
    key, address, counter, seq = _SEALED
    body = codec.encode(schema.EVENT, messages.values_of("EVENT"))
    payload = kept.pack(1, seq, 1, body, kept.expected(counter))
    front = nonce(schema.EVENT, address, counter, schema.crc(schema.EVENT))
    tag = frame.tag_length(schema.EVENT)
    sealed = Ccm(key).seal(front, payload, tag)
    data = frame.pack(schema.EVENT, address, counter & 0xFFFF, sealed, frame.SEALED)
    yield from messages.head("", "")
    yield messages.row("body", f"`{body.hex()}`")
    yield messages.row(f"expected seq {counter} >> 2", kept.expected(counter))
    yield messages.row("identity and body", f"`{payload.hex()}`")
    yield messages.row("nonce", f"`{front.hex()}`")
    yield messages.row("header, ciphertext, tag", f"`{data[:5].hex()} {sealed[:-tag].hex()} {sealed[-tag:].hex()}`")
