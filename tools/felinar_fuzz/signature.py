"""Signatures of updates: any bytes give an answer, and yes is the answer to the signer's alone."""

from __future__ import annotations

import json
from functools import cache

from felinar_wire import lms

from felinar_fuzz.take import Take, number, require
from felinar_fuzz.vectors import FOLDER


@cache
def _genuine() -> tuple[bytes, bytes, bytes]:
    """Public key, message, signature out of the vectors; bytes of the same lengths where they are not there."""
    path = FOLDER / "security_lms.json"
    if not path.exists():
        return bytes(60), b"", bytes(1456)
    content = json.loads(path.read_text())
    return bytes.fromhex(content["public"]), bytes.fromhex(content["message"]), bytes.fromhex(content["signature"])


def signature_input(public: bytes, message: bytes, signature: bytes) -> bytes:
    """An input of the target `signature` that says all three in full."""
    return number(0) + number(len(public)) + public + number(len(message)) + message + signature


def _altered(data: bytes, take: Take) -> bytes:
    out = bytearray(data)
    for _ in range(take.number() & 3):
        if out:
            out[take.number(2) % len(out)] ^= take.number()
    return bytes(out)


def signatures(data: bytes) -> None:
    """No error, and no signature good but the signer's own."""
    take = Take(data)
    genuine = _genuine()
    if take.number() & 1:
        public, message, signature = (_altered(piece, take) for piece in genuine)
        signature = signature[: len(signature) - take.number(2) % 1500] + take.rest()
    else:
        public = take.piece(take.number())
        message = take.piece(take.number())
        signature = take.rest()
    good = lms.verify(public, message, signature)
    if any(genuine[2]):
        require(good is ((public, message, signature) == genuine), f"the answer is {good}")
    else:
        require(good is False, f"the answer is {good}")
