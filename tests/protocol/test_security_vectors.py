"""Felinar's security vectors: fresh, good on both interpreters, and enough for an implementation from scratch."""

from __future__ import annotations

import json
import subprocess
from hashlib import sha256
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESCCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC

from tests.protocol import security_vectors, security_vectors_run
from tests.support.micropython import PROTOCOL, environment, interpreter

FOLDER = security_vectors.FOLDER
COUNTS = [39, 3, 90, 4]


@pytest.mark.parametrize("name", list(security_vectors.MADE))
def test_fresh(name: str) -> None:
    made = security_vectors.text(security_vectors.MADE[name]())
    assert made == (FOLDER / name).read_text(), "run python -m tests.protocol.security_vectors"


def test_cpython() -> None:
    assert security_vectors_run.check(str(FOLDER)) == COUNTS


def test_micropython() -> None:
    done = subprocess.run(
        [interpreter(), "-X", "heapsize=2M", security_vectors_run.__file__, str(FOLDER)],
        env=environment((PROTOCOL,)),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout) == COUNTS


# From here on nothing of felinar_wire is used: only what the files and docs/protocol.md say.


def load(name: str) -> Any:
    return json.loads((FOLDER / name).read_text())


def be(value: int, size: int) -> bytes:
    return value.to_bytes(size, "big")


def cmac(key: bytes, data: bytes) -> bytes:
    mac = CMAC(AES(key))
    mac.update(data)
    return mac.finalize()


def nonce(kind: int, address: int, counter: int, crc: int, interval: int = 0) -> bytes:
    return be(64 | kind, 1) + be(address, 2) + be(counter & 0xFFFFFFFF, 4) + be(crc, 2) + be(interval, 4)


def sealed(key: bytes, kind: int, address: int, counter: int, crc: int, body: bytes, interval: int = 0) -> bytes:
    front = nonce(kind, address, counter, crc, interval)
    tag = 8 if kind >> 4 else 4
    return front[:3] + front[5:7] + AESCCM(key, tag).encrypt(front, body, None)


def derive(key: bytes, label: bytes, context: bytes) -> bytes:
    return cmac(key, b"\x01" + label + b"\0" + context + b"\x00\x80")


def test_frames_from_scratch() -> None:
    for v in load("security_frames.json")["sealed"]:
        key, body = bytes.fromhex(v["key"]), bytes.fromhex(v["body"])
        about = v["kind"], v["address"], v["counter"], v["crc"]
        assert sealed(key, *about, body, v["interval"]).hex() == v["frame"]


def test_joins_from_scratch() -> None:
    for v in load("security_join.json")["joins"]:
        root, address, counter = bytes.fromhex(v["root"]), v["address"], v["join_counter"]
        front = nonce(0x30, address, counter, 1)
        body = be(counter >> 16, 2) + be(v["schema"], 2) + be(v["boot"], 2)
        tag = cmac(derive(root, b"join", b""), front + body)[:8]
        assert (front[:3] + front[5:7] + body + tag).hex() == v["JOIN_REQ"]
        answer = bytes.fromhex(v["JOIN_ACC"])
        context = be(address, 2) + be(counter, 4) + answer[5:12]
        up, down = derive(root, b"up", context), derive(root, b"down", context)
        plain = AESCCM(down, 8).decrypt(nonce(0x31, address, counter, 1), answer[12:], None)
        assert plain == be(v["slot"], 2) + be(v["slot_map"], 1) + bytes.fromhex(v["tesla_key"])
        assert int.from_bytes(answer[5:9], "big") * 1000 + answer[9] * 4 == v["host_ms"] // 4 * 4
        for first, key in ((v["first_up"], up), (v["first_down"], down)):
            made = sealed(key, first["kind"], address, first["counter"], first["crc"], bytes.fromhex(first["body"]))
            assert made.hex() == first["frame"]


def test_tesla_from_scratch() -> None:
    vectors = load("security_tesla.json")
    keys = {}
    key = bytes.fromhex(vectors["last_key"])
    first = vectors["day"] * 8640
    for n in range(first + 8639, first - 1, -1):
        keys[n] = key
        key = sha256(b"chain" + be(n, 4) + key).digest()[:16]
    keys[first - 1] = key
    for n, known in vectors["keys"].items():
        assert keys[int(n)].hex() == known
    for step in vectors["heard"][:7]:
        data = bytes.fromhex(step["frame"])
        kind, address = data[0] & 63, int.from_bytes(data[1:3], "big")
        n = step["now_ms"] // 10000
        assert data[3] == n & 255
        front = nonce(kind, address, n << 8 | data[4], 1)
        mac_key = sha256(b"mac" + be(n, 4) + keys[n]).digest()[:16]
        genuine = cmac(mac_key, front + data[5:-8])[:8] == data[-8:]
        assert genuine == ("thief" not in step["name"] and "wrong" not in step["name"])
        if kind == 0x21:
            zone_tag = cmac(bytes.fromhex(vectors["zone_key"]), front + data[5:-16])[:8]
            assert (zone_tag == data[-16:-8]) == ("wrong" not in step["name"])
        else:
            assert data[5:21] == keys[n - 2]
