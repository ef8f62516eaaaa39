"""Every vector file, checked by an implementation that knows docs/protocol.md alone: page and vectors are enough."""

from __future__ import annotations

import hmac
import json
import random
import re
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESCCM
from felinar_wire import core

from tests.protocol import calls, independent, independent_air, messages
from tests.protocol import independent_security as security
from tests.protocol.independent import Refused

FOLDER = Path(__file__).resolve().parents[1] / "vectors"
SECURITY = {f"security_{name}" for name in ("frames", "join", "tesla", "lms", "standards")}
CALLS = sorted({path.stem for path in FOLDER.glob("*.json")} - SECURITY - {"air"})  # which test_air_vectors has


def load(name: str) -> Any:
    return json.loads((FOLDER / f"{name}.json").read_text())


@pytest.mark.parametrize("name", CALLS)
def test_calls(name: str) -> None:
    content = load(name)
    assert content["covers"]
    assert content["vectors"]
    for vector in content["vectors"]:
        told = {key: vector[key] for key in ("result", "refused") if key in vector}
        found = json.loads(json.dumps(independent.call(vector["call"], vector["args"])))
        assert found == told, f"{vector['about']}: {vector['call']} {vector['args']}"


def unhex(text: str) -> bytes:
    return bytes.fromhex(text)


def test_sealed_frames() -> None:
    content = load("security_frames")
    assert content["about"]
    for v in content["sealed"]:
        key, body = unhex(v["key"]), unhex(v["body"])
        about = v["kind"], v["address"], v["counter"], v["crc"]
        assert security.nonce(*about, v["interval"]).hex() == v["nonce"]
        sealed = security.seal(key, *about, body, v["interval"])
        assert sealed.hex() == v["frame"]
        receiver = security.Receiver(v["address"], key, {v["kind"]: v["crc"]}, v["counter"] - 1)
        assert receiver.open(sealed, v["interval"]) == (v["kind"], v["counter"], body)
    for v in content["received"]:
        receiver = security.Receiver(v["address"], unhex(v["key"]), {0: 0x1234, 16: 0x4321}, v["top"], v["seen"])
        if "refused" in v:
            with pytest.raises(Refused, match=v["refused"]):
                receiver.open(unhex(v["frame"]), v["interval"])
            assert (receiver.top, receiver.seen) == (v["top"], v["seen"])
        else:
            assert receiver.open(unhex(v["frame"]), v["interval"]) == (v["kind"], v["counter"], unhex(v["body"]))
            assert (receiver.top, receiver.seen) == (v["top_then"], v["seen_then"])


def test_joins() -> None:
    content = load("security_join")
    assert content["about"]
    for v in content["joins"]:
        root, address, counter, nonce = unhex(v["root"]), v["address"], v["join_counter"], unhex(v["host_nonce"])
        assert security.derive(root, b"join", b"").hex() == v["join_key"]
        assert security.join_request(root, address, counter, v["schema"], v["boot"]).hex() == v["JOIN_REQ"]
        key = unhex(v["tesla_key"])
        answer = security.join_answer(root, address, counter, nonce, v["slot"], v["slot_map"], key)
        assert answer.hex() == v["JOIN_ACC"]
        told = security.join_accepted(answer, root, address, counter)
        assert told["time"] * 1000 + told["quarters"] * 4 == v["host_ms"] // 4 * 4
        assert (told["slot"], told["slot_map"], told["key"]) == (v["slot"], v["slot_map"], v["tesla_key"])
        assert told["interval"] == v["tesla_interval"]
        assert (told["up"].hex(), told["down"].hex()) == (v["uplink_key"], v["downlink_key"])
        for first, way in ((v["first_up"], told["up"]), (v["first_down"], told["down"])):
            sealed = security.seal(way, first["kind"], address, first["counter"], first["crc"], unhex(first["body"]))
            assert sealed.hex() == first["frame"]
        for other, says in ((counter ^ 1, "counter"), (counter ^ 1 << 20, "tag")):
            with pytest.raises(Refused, match=says):
                security.join_accepted(answer, root, address, other)


def test_a_day_of_tesla() -> None:
    content = load("security_tesla")
    assert content["about"]
    first = content["day"] * security.DAY
    key = unhex(content["last_key"])
    chain = {}
    for n in range(first + security.DAY - 1, first - 2, -1):
        chain[n] = key
        key = security.key_before(n, key)
    assert {n: chain[int(n)].hex() for n in content["keys"]} == content["keys"]
    start = content["start"]
    node = security.Listener(
        start["interval"], unhex(start["key"]), dict.fromkeys(start["addresses"], 0), {start["zone"]: unhex(content["zone_key"])}
    )  # fmt: skip
    follow(node, content["heard"])


def follow(node: security.Listener, steps: list[dict[str, Any]]) -> None:
    for v in steps:
        drawn = v.get("random", 0)
        node.random16 = lambda drawn=drawn: drawn
        if "look" in v:
            assert node.look(v["now_ms"]) == v["look"], v["name"]
        elif "refused" in v:
            with pytest.raises(Refused, match=v["refused"]):
                node.hear(unhex(v["frame"]), v["now_ms"], v["bound_ms"])
        else:
            assert node.hear(unhex(v["frame"]), v["now_ms"], v["bound_ms"]) == v["events"], v["name"]
        assert node.counts == v["counts"], v["name"]


@pytest.mark.parametrize("lesson", load("security_tesla")["lessons"], ids=lambda lesson: lesson["name"])
def test_lessons_of_tesla(lesson: dict[str, Any]) -> None:
    start = lesson["start"]
    zones = {int(address): unhex(key) for address, key in start["zones"].items()}
    node = security.Listener(start["interval"], unhex(start["key"]), dict.fromkeys(start["addresses"], 0), zones)
    follow(node, lesson["steps"])


def test_signatures() -> None:
    content = load("security_lms")
    assert content["about"]
    public = unhex(content["public"])
    assert len(public) == 60
    assert len(unhex(content["signature"])) == 1456
    assert security.hss_good(public, unhex(content["message"]), unhex(content["signature"]))
    for v in content["spoilt"]:
        assert not security.hss_good(public, unhex(v["message"]), unhex(v["signature"]))


def test_published_vectors() -> None:
    content = load("security_standards")
    assert content["about"]
    for v in content["cmac"]:
        assert security.cmac(unhex(v["key"]), unhex(v["message"])).hex() == v["tag"], v["source"]
    for v in content["ccm"]:
        aad = unhex(v["aad"]) * v.get("aad_repeat", 1)
        sealed = AESCCM(unhex(v["key"]), v["tag"]).encrypt(unhex(v["nonce"]), unhex(v["plain"]), aad)
        assert sealed.hex() == v["sealed"], v["source"]
    for v in content["hmac_sha256"]:
        mac = hmac.digest(unhex(v["key"]), unhex(v["message"]), "sha256").hex()
        assert mac.startswith(v["mac"]), v["source"]
    for v in content["hss"]:
        public, message, signature = unhex(v["public"]), unhex(v["message"]), unhex(v["signature"])
        assert security.hss_good(public, message, signature), v["source"]
        assert not security.hss_good(public, message + b"x", signature)
        assert not security.hss_good(public, message, signature + b"x")
        assert not security.hss_good(public, message, signature[:-1])


def test_no_file_is_missing() -> None:
    assert {"messages", "forms", "frames", "core", "serial", "scale"} <= set(CALLS)
    assert all((FOLDER / f"{name}.json").is_file() for name in SECURITY)


def test_knows_nothing_of_the_other() -> None:
    for module in (independent, independent_air, security):
        assert "felinar" not in "".join(
            re.findall(r"^\s*(?:from|import) .*$", Path(str(module.__file__)).read_text(), re.M)
        )


# What the vectors don't have: both implementations say the same of anything at all, reasons included.


def agree(name: str, *args: Any) -> Any:
    one = json.loads(json.dumps(calls.call(name, list(args))))
    assert json.loads(json.dumps(independent.call(name, list(args)))) == one, f"{name} {args}"
    return one.get("result")


def spoil(rng: random.Random, body: str) -> str:
    data = bytearray(unhex(body))
    for _ in range(rng.choice([0, 1, 1, 3])):
        if data:
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(data[: rng.choice([len(data), len(data), rng.randint(0, len(data))])]).hex()


@pytest.mark.parametrize("seed", range(6))
def test_both_say_the_same(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(60):
        kind = rng.choice(messages.KINDS)
        old = messages.values(rng, kind)
        agree("decode", kind, spoil(rng, agree("encode", kind, old, None, 0)), None, 0)
        report = messages.seen(0, messages.values(rng, 0))
        new, lag = messages.later(rng, 0, report), rng.randint(1, 15)
        body = agree("encode", 0, new, report, lag)
        agree("decode", 0, body, report, lag)
        agree("decode", 0, spoil(rng, body), report, lag)
        agree(
            "unkeep",
            rng.randbytes(rng.choice([0, 1, 2, 3, 6, 7, 9])).hex(),
            rng.choice([0, 5]),
            rng.choice([0, 9, 70000]),
        )
    for _ in range(6):
        rows = messages.rows(rng, rng.choice([1, 2, 12]))
        body = agree("batch", rows)
        agree("unbatch", body, rows[0][0])
        agree("unbatch", spoil(rng, body), 1)
    for kind, layout in independent.LAYOUTS.items():
        assert layout == core.LAYOUT[kind]
        body = agree("core", layout, messages.frozen(rng, layout))
        agree("uncore", layout, spoil(rng, body))
    stream = b"".join(
        rng.choice([unhex(agree("line", rng.randbytes(rng.choice([0, 9, 260])).hex())), rng.randbytes(20)])
        for _ in range(9)
    )
    cut = rng.randrange(len(stream))
    agree("deframe", 256, [stream[:cut].hex(), stream[cut:].hex()])
