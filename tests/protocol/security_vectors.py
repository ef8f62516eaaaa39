"""Felinar's own security vectors: made here from fixed keys, written by `python -m tests.protocol.security_vectors`.

The signature is the exception: its key takes ten seconds to make and it has random bytes in it, so it is made once
(`... signature`) and kept.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
from pathlib import Path
from typing import Any

from felinar.keys import Broadcast, UpdateSigner
from felinar_wire import WireError, core, frame, join, tesla
from felinar_wire.aes import Ccm, cmac, derive
from felinar_wire.hmac import hmac
from felinar_wire.session import Session, nonce

from tests.protocol.group_vectors import lessons

FOLDER = Path(__file__).resolve().parents[1] / "vectors"
INTERVAL = 9_158_400
"""The one that begins with 2026-11-26."""
NONCE = (
    "header byte 0 (64 | kind) | address (16) | counter (32) | CRC of the message (16) | interval (32; 0 outside of slots), "
    "big-endian"
)


def frames() -> dict[str, Any]:
    """Sealed frames, and what a receiver says to them and to spoilt ones."""
    chance = random.Random(1)
    key = bytes(range(16))
    sealed = []
    for name, kind, address, counter, crc, size, interval in (
        ("an empty report", 0x00, 1, 1, 0x1234, 0, 0),
        ("a report", 0x00, 0x0102, 7, 0x1234, 28, 0),
        ("a batch, counter beyond 16 bits", 0x01, 0x0102, 0x00012345, 0xBEEF, 150, 0),
        ("health", 0x03, 0xFFFF, 0xFFFF, 0x0001, 16, 0),
        ("one whole block", 0x02, 5, 0x10000, 0xFFFF, 16, 0),
        ("a lamp command", 0x10, 5, 2, 0x4321, 9, 0),
        ("an acknowledgement", 0x15, 5, 0xFFFFFFFF, 0x8000, 11, 0),
        ("a hello", 0x34, 5, 3, 0x7777, 30, 0),
        ("the longest telemetry", 0x00, 5, 4, 0x1234, 246, 0),
        ("the longest command", 0x12, 5, 5, 0x1234, 242, 0),
        ("a report in a slot", 0x00, 5, 400, 0x1234, 28, INTERVAL),
        ("the same in the next cycle's slot", 0x00, 5, 400, 0x1234, 28, INTERVAL + 30),
        ("an event in a slot of the last interval that there is", 0x02, 5, 401, 0x1234, 12, 0x3FFFFFFF),
    ):
        body = chance.randbytes(size)
        tag = frame.tag_length(kind)
        front = nonce(kind, address, counter, crc, interval)
        data = frame.pack(kind, address, counter & 0xFFFF, Ccm(key).seal(front, body, tag), frame.SEALED)
        sealed.append(
            {
                "name": name, "kind": kind, "address": address, "counter": counter, "crc": crc, "interval": interval,
                "key": key.hex(),
                "nonce": front.hex(), "body": body.hex(), "tag_bytes": tag, "frame": data.hex(),
            }
        )  # fmt: skip
    return {
        "about": "Sealed frames of classes 0, 1 and 3. AES-128-CCM without associated data; frame = header byte 0 | "
        "address (16) | counter's low 16 bits | ciphertext | tag. The receiver has the session's keys, `top` (highest "
        "counter accepted) and `seen` (bit i set: top - i was accepted). The receiver of `received` knows two kinds of message: "
        "0, with CRC 0x1234, and 16, with CRC 0x4321; every other kind it refuses. `interval` is the one whose slot a frame is "
        "sent, or was received, in; 0 outside of slots. All values in hex or decimal.",
        "nonce": NONCE,
        "sealed": sealed,
        "received": received(key, chance),
    }


def received(key: bytes, chance: random.Random) -> list[dict[str, Any]]:
    """A receiver's answers, each from the state given with it. CRCs: kind 0 0x1234, kind 0x10 0x4321, no other kind."""
    crcs = {0x00: 0x1234, 0x10: 0x4321}
    sender = Session(5, key, bytes(16), crcs.__getitem__, {})

    def sealed(kind: int, counter: int, size: int = 8, interval: int = 0) -> bytes:
        sender.sent = counter - 1
        return sender.seal(kind, chance.randbytes(size), interval)

    good = sealed(0, 100)
    slotted = sealed(0, 100, interval=INTERVAL)
    cases: list[tuple[str, bytes, int, int] | tuple[str, bytes, int, int, int]] = [
        ("new", good, 99, 0b1),
        ("the last one again", good, 100, 0b1),
        ("one of the window, not seen yet", good, 163, 0b1),
        ("one of the window, seen", good, 163, 1 << 63 | 1),
        ("behind the window", good, 164, 0b1),
        ("far ahead", sealed(0, 30000), 1, 0b1),
        ("low bits wrap round", sealed(0, 0x10002), 0xFFFE, 0b1),
        ("too far ahead to tell", sealed(0, 40000), 1, 0b1),
        ("bit of the tag", good[:-1] + bytes([good[-1] ^ 1]), 99, 0b1),
        ("bit of the text", good[:6] + bytes([good[6] ^ 128]) + good[7:], 99, 0b1),
        ("bit of the counter", good[:4] + bytes([good[4] ^ 2]) + good[5:], 99, 0b1),
        ("other address", good[:2] + b"\x06" + good[3:], 99, 0b1),
        ("not sealed", bytes([0]) + good[1:], 99, 0b1),
        ("version to come", bytes([0x80]) + good[1:], 99, 0b1),
        ("kind without a message", bytes([0x44]) + good[1:], 99, 0b1),
        ("shorter than its tag", good[:8], 99, 0b1),
        ("shorter than its header", good[:4], 99, 0b1),
        ("a command", sealed(0x10, 101), 100, 0b1),
        ("a command as telemetry", bytes([0x40]) + sealed(0x10, 102)[1:], 101, 0b1),
        ("longer than a frame", bytes([0x40, 0, 5]) + bytes(253), 99, 0b1),
        ("in its slot", slotted, 99, 0b1, INTERVAL),
        ("in its node's next slot", slotted, 99, 0b1, INTERVAL + 30),
        ("in the slot before", slotted, 99, 0b1, INTERVAL - 30),
        ("a slot's, in none", slotted, 99, 0b1, 0),
        ("sealed for no slot, in one", good, 99, 0b1, INTERVAL),
        ("in its slot, the last one again", slotted, 100, 0b1, INTERVAL),
    ]
    out = []
    for name, data, top, seen, *rest in cases:
        interval = rest[0] if rest else 0
        receiver = Session(5, bytes(16), key, crcs.__getitem__, {})
        receiver.top, receiver.seen = top, seen
        case: dict[str, Any] = {
            "name": name,
            "address": 5,
            "key": key.hex(),
            "top": top,
            "seen": seen,
            "interval": interval,
            "frame": data.hex(),
        }
        try:
            kind, counter, body = receiver.open(data, interval)
            case |= {
                "kind": kind,
                "counter": counter,
                "body": body.hex(),
                "top_then": receiver.top,
                "seen_then": receiver.seen,
            }
        except WireError as error:
            case["refused"] = error.reason
        out.append(case)
    return out


def joins() -> dict[str, Any]:
    """Whole joins: request, answer, keys, first frames."""
    out = []
    for address, counter, schema, boot, now, draw, slot, slot_map in (
        (5, 1, 1, 1, 91584000123, 0x0000, 0, 0),
        (0x0102, 0x00012345, 3, 0xFFFF, 91584000999, 0xA5C3, 999, 255),
        (0xFFFF, 0x7FFFFFFF, 0xFFFF, 0, 1073741823996, 0xFFFF, 0xFFFF, 7),
    ):
        root = bytes((address + 17 * i) & 255 for i in range(16))
        request = join.request(root, address, counter, schema, boot)
        plain = [now // 1000, now % 1000 // 4, draw, slot, slot_map, bytes(range(100, 116))]
        host_nonce, inner = (body := core.encode(core.LAYOUT[join.JOIN_ACC], plain))[:7], body[7:]
        up, down = join.keys(root, address, counter, host_nonce)
        front = nonce(join.JOIN_ACC, address, counter)
        answer = frame.pack(join.JOIN_ACC, address, counter, host_nonce + Ccm(down).seal(front, inner, 8), frame.SEALED)
        node = Session(address, up, down, lambda kind: 0x1234, {})
        host = Session(address, down, up, lambda kind: 0x1234, {})
        out.append(
            {
                "root": root.hex(), "address": address, "join_counter": counter, "schema": schema, "boot": boot,
                "join_key": derive(root, b"join", b"").hex(), "request_nonce": nonce(join.JOIN_REQ, address, counter).hex(),
                "JOIN_REQ": request.hex(), "host_ms": now, "host_nonce": host_nonce.hex(), "uplink_key": up.hex(),
                "downlink_key": down.hex(), "answer_nonce": front.hex(), "answer_plain": inner.hex(),
                "slot": slot, "slot_map": slot_map, "tesla_key": bytes(range(100, 116)).hex(),
                "tesla_interval": tesla.anchor(now // tesla.INTERVAL), "JOIN_ACC": answer.hex(),
                "first_up": {"kind": 0, "crc": 0x1234, "counter": 1, "body": b"up".hex(), "frame": node.seal(0, b"up").hex()},
                "first_down": {
                    "kind": 16, "crc": 0x1234, "counter": 1, "body": b"down".hex(), "frame": host.seal(16, b"down").hex(),
                },
            }
        )  # fmt: skip
    return {
        "about": "Joins. join key = derive(root, 'join', ''); uplink and downlink key = derive(root, 'up' / 'down', "
        "address (16) | join counter (32) | host nonce (7 bytes)), where derive(K, label, context) = AES-CMAC(K, 01 | "
        "label | 00 | context | 0080). JOIN_REQ = header | body | first 8 bytes of AES-CMAC(join key, nonce | body). "
        "JOIN_ACC = header | host nonce | AES-CCM(downlink key, nonce, plain) with an 8-byte tag. The CRC in both nonces "
        "is 1. Frames count from 1.",
        "nonce": NONCE,
        "joins": out,
    }


def tesla_day() -> dict[str, Any]:
    """A day's chain, abridged, and an evening on the air: what a node makes of each frame."""
    secret = bytes(range(32))
    zone = bytes(range(16, 32))
    sender = Broadcast(secret, lambda address: zone)
    day = 1060
    first = day * tesla.DAY
    chain = sender._chain(day)
    wanted = [
        first - 1,
        first,
        first + 1,
        first + 2,
        first + 3,
        first + 4320,
        first + tesla.DAY - 2,
        first + tesla.DAY - 1,
    ]
    n = first + tesla.DAY - 5  # fifty seconds before midnight
    city, street = 7, 0x8001
    at = n * tesla.INTERVAL
    seconds = 1000
    later = 5 * tesla.INTERVAL
    broadcast: list[tuple[str, bytes, int, int]] = [
        ("a beacon", sender.beacon(city, at, at + 200, 3, 40, b"\xa0\x01"), at + 240, 300),
        ("where the next chain begins", sender.announcement(city, at + seconds, at + seconds), at + 1040, 300),
        ("all lamps of a street on", sender.lamp(street, at + 2 * seconds, 9, 1, 100, 0, 60), at + 2040, 300),
        ("the same again", b"", at + 2940, 300),
        ("dim, which waits", sender.lamp(street, at + 3 * seconds, 10, 3, 40, 5, 60), at + 3040, 300),
        ("on under the zone key alone, as a thief sends it", b"thief", at + 4040, 300),
        ("a wrong zone tag", b"zone", at + 5040, 300),
    ]
    for i in range(1, 8):
        then = (n + i) * tesla.INTERVAL
        broadcast.append((f"the beacon of {i} intervals later", b"beacon", then + 240, 300))
    broadcast += [
        (
            "late: its key is out",
            sender.lamp(street, at + later + 2 * tesla.INTERVAL, 11, 2, 0),
            at + later + 49000,
            300,
        ),
        (
            "in time, but not surely",
            sender.lamp(street, at + later + 2 * tesla.INTERVAL, 12, 2, 0),
            at + later + 39800,
            300,
        ),
        ("a clock that may be 20.001 s wrong", b"beacon", at + later + 30240, 20001),
        ("early", sender.lamp(street, at + later + 9 * tesla.INTERVAL, 13, 2, 0), at + later + 60000, 300),
    ]
    counts: dict[str, int] = {}
    node = tesla.Group(tesla.Chain(tesla.anchor(n), sender.anchor(n)), counts, lambda size: bytes(size))
    node.last = {city: 0, street: 0}
    node.zones = {street: zone}
    heard = []
    previous = b""
    for name, given, now, bound in broadcast:
        data = given
        if not data:
            data = previous
        elif data == b"beacon":
            data = sender.beacon(city, now, now - 40, 3, 40, b"\x80")
        elif data in (b"thief", b"zone"):
            fields = core.encode(core.LAYOUT[tesla.GROUP_LAMP], [99, 1, 100, 0, 6, 0, bytes(8)])[:8]
            counter = n << 8 | (77 if data == b"thief" else 78)
            front = nonce(tesla.GROUP_LAMP, street, counter & 0xFFFFFFFF)
            tag = cmac(zone if data == b"thief" else bytes(16), front + fields)[:8]
            data = frame.pack(tesla.GROUP_LAMP, street, counter & 0xFFFF, fields + tag + bytes(8), frame.SEALED)
        previous = data
        step: dict[str, Any] = {"name": name, "now_ms": now, "bound_ms": bound, "frame": data.hex()}
        try:
            step["events"] = [[what, k, a, c, b.hex()] for what, k, a, c, b in node.receive(data, now, bound)]
        except WireError as error:
            step["refused"] = error.reason
        step["counts"] = dict(counts)
        heard.append(step)
    return {
        "about": "TESLA. Interval n is 10 s long and starts at n * 10000 ms since 2024-01-01T00:00:00Z. K(n-1) = "
        "SHA-256('chain' | n (32) | K(n)) cut to 16 bytes; MAC key = SHA-256('mac' | n (32) | K(n)) cut to 16 bytes; tag = "
        "first 8 bytes of AES-CMAC(MAC key, nonce | body). A group frame's counter is n << 8 | its number in the "
        "interval; its nonce has the low 32 bits, CRC 1. The host's last key of a day is HMAC-SHA-256(secret, 'tesla' | "
        "day (32)) cut to 16 bytes. `heard` is what a node that listens to addresses 7 and 32769 makes of each frame, in "
        "this order, from the start given; its random bytes are zeros. `lessons` are more such receivers, each from its own "
        "start, for one rule or two: `random` is what the receiver draws at a step where it draws, and a step with `look` "
        "is the receiver's look at the time, which may take an 'on' back.",
        "nonce": NONCE,
        "secret": secret.hex(),
        "day": day,
        "last_key": hmac(secret, b"tesla" + day.to_bytes(4, "big"))[:16].hex(),
        "keys": {str(i): chain[i - first + 1].hex() for i in wanted},
        "zone_key": zone.hex(),
        "start": {
            "interval": tesla.anchor(n),
            "key": sender.anchor(n).hex(),
            "addresses": [city, street],
            "zone": street,
        },
        "heard": heard,
        "lessons": lessons(),
    }


def signature() -> dict[str, Any]:
    """An update's signature, one level of W8/H10, by a key that exists for this alone."""
    message = b"Felinar vector: 1.0.0, 48122 bytes"
    with tempfile.TemporaryDirectory() as folder:
        signer = UpdateSigner.create(Path(folder) / "key", bytes(32))
        for _ in range(3):
            signer.sign(b"other")
        signed = signer.sign(message)
        public = signer.public
    bad = bytearray(signed)
    bad[700] ^= 4
    return {
        "about": "HSS/LMS (RFC 8554) with one level, LMS_SHA256_M32_H10, LMOTS_SHA256_N32_W8: a 60-byte public key and a "
        "1,456-byte signature, here by leaf 3. The spoilt ones must not verify.",
        "public": public.hex(),
        "message": message.hex(),
        "signature": signed.hex(),
        "spoilt": [
            {"message": (message + b" ").hex(), "signature": signed.hex()},
            {"message": message.hex(), "signature": bytes(bad).hex()},
            {"message": message.hex(), "signature": signed[:-1].hex()},
        ],
    }


MADE = {"security_frames.json": frames, "security_join.json": joins, "security_tesla.json": tesla_day}


def text(value: dict[str, Any]) -> str:
    return json.dumps(value, indent=1) + "\n"


if __name__ == "__main__":
    for name, make in MADE.items():
        (FOLDER / name).write_text(text(make()))
    if sys.argv[1:] == ["signature"]:
        (FOLDER / "security_lms.json").write_text(text(signature()))
