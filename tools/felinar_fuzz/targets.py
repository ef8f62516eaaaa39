"""The targets by name: what is checked for any bytes, how long inputs are, and which of the vectors are its seeds."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from felinar_wire import tesla

from felinar_fuzz import group, line, messages, sealed, signature, vectors


@dataclass(frozen=True, slots=True)
class Target:
    """`check` raises for an input that breaks a property; `question` is the plain call that an input makes, if any."""

    check: Callable[[bytes], None]
    longest: int
    seeds: Callable[[], Iterator[bytes]]
    question: Callable[[bytes], tuple[str, list[Any]] | None] | None = None
    cost: int = 1
    """How many runs of the cheapest target one run takes, roughly."""

    @property
    def about(self) -> str:
        return (self.check.__doc__ or "").split("\n")[0]


def _deframer() -> Iterator[bytes]:
    for call, args, result in vectors.calls():
        if call == "deframe":
            yield line.deframer_input(args[0], bytes.fromhex("".join(args[1])))
        elif call == "line" and result:
            yield line.deframer_input(600, bytes.fromhex(result))


def _frame() -> Iterator[bytes]:
    for call, args, _ in vectors.calls():
        if call == "unpack":
            yield messages.frame_input(bytes.fromhex(args[0]), args[1])


def _kept() -> Iterator[bytes]:
    for call, args, _ in vectors.calls():
        if call == "unkeep":
            yield messages.kept_input(bytes.fromhex(args[0]), args[1], args[2])


def _codec() -> Iterator[bytes]:
    for call, args, _ in vectors.calls():
        if call == "decode" and args[0] < 256:
            yield messages.codec_input(args[0], bytes.fromhex(args[1]), args[3], vectors.whole(args[0], args[2]))


def _batch() -> Iterator[bytes]:
    for call, args, _ in vectors.calls():
        if call == "unbatch":
            yield messages.batch_input(bytes.fromhex(args[0]), args[1])


def _core() -> Iterator[bytes]:
    for call, args, _ in vectors.calls():
        if call == "uncore" and args[0] in messages.LAYOUTS:
            yield messages.core_input(messages.LAYOUTS.index(args[0]), bytes.fromhex(args[1]))


def _session() -> Iterator[bytes]:
    for call, args, _ in vectors.calls():
        if call == "decode" and len(args[1]) < 400:
            yield sealed.seal_input(args[0], bytes.fromhex(args[1])) * 2
    for data in _hex("security_frames.json"):
        yield sealed.raw_input(data)


def _join() -> Iterator[bytes]:
    yield bytes((1, 0, 0))
    for data in _hex("security_join.json"):
        yield bytes(2) + data


def _group() -> Iterator[bytes]:
    on = bytes((0, 5, 1, 80, 0, 0, 6, 0))
    beat = group.send_input(tesla.BEACON, group.ALL, bytes(5))
    for address in (group.ALL, group.ZONE):
        lamp = group.send_input(tesla.GROUP_LAMP, address, on, 3)
        yield beat + lamp + beat * 3
        yield group.flood_input(7) + beat * 3
        yield group.send_input(tesla.KEY_DISCLOSE, address, b"") + beat * 8 + lamp + beat * 3


def _signature() -> Iterator[bytes]:
    yield b"\1"
    path = vectors.FOLDER / "security_lms.json"
    if path.exists():
        content = json.loads(path.read_text())
        yield signature.signature_input(*(bytes.fromhex(content[key]) for key in ("public", "message", "signature")))


def _hex(name: str) -> Iterator[bytes]:
    """The frames in a file of security vectors: strings of hex as long as a frame, wherever they stand."""
    path = vectors.FOLDER / name
    waiting = [json.loads(path.read_text())] if path.exists() else []
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            waiting += node.values()
        elif isinstance(node, list):
            waiting += node
        elif isinstance(node, str):
            try:
                data = bytes.fromhex(node)
            except ValueError:
                continue
            if 5 <= len(data) < 256:
                yield data


TARGETS = {
    "deframer": Target(line.deframer, 2000, _deframer, line.deframer_question, 4),
    "frame": Target(messages.header, 260, _frame, messages.frame_question),
    "kept": Target(messages.identity, 40, _kept, messages.kept_question),
    "codec": Target(messages.bodies, 300, _codec, messages.codec_question, 2),
    "batch": Target(messages.batches, 260, _batch, messages.batch_question, 8),
    "core": Target(messages.frozen, 120, _core, messages.core_question),
    "session": Target(sealed.sessions, 600, _session, cost=4),
    "join": Target(sealed.joins, 120, _join, cost=2),
    "group": Target(group.groups, 600, _group, cost=8),
    "signature": Target(signature.signatures, 1700, _signature, cost=100),
}


def seeds(target: Target, most: int = 300) -> list[bytes]:
    """At most so many different seeds of a target, spread over all that the vectors give, the shortest first."""
    found = sorted({seed for seed in target.seeds() if len(seed) <= target.longest}, key=lambda seed: (len(seed), seed))
    step = -(-len(found) // most) if found else 1
    return found[::step]
