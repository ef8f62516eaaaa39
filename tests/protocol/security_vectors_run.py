"""Checks Felinar's own security vectors; the same file runs under both interpreters. Argument: the vectors' folder."""

import json
import sys
from binascii import hexlify, unhexlify

from felinar_wire import WireError, aes, frame, join, lms, tesla
from felinar_wire.session import Session, nonce


def load(folder: str, name: str) -> dict:
    with open(folder + "/" + name) as file:
        return json.load(file)


def outcome(check, *args) -> tuple:
    """(result, "") or (None, the reason of a refusal)."""
    try:
        return check(*args), ""
    except WireError as error:
        return None, error.reason


def frames(vectors: dict) -> int:
    for v in vectors["sealed"]:
        key, body, data = unhexlify(v["key"]), unhexlify(v["body"]), unhexlify(v["frame"])
        front = nonce(v["kind"], v["address"], v["counter"], v["crc"], v["interval"])
        assert front == unhexlify(v["nonce"]), v["name"]
        session = Session(v["address"], key, key, {v["kind"]: v["crc"]}.__getitem__, {})
        session.sent = v["counter"] - 1
        assert session.seal(v["kind"], body, v["interval"]) == data, v["name"]
        assert len(data) == 5 + len(body) + v["tag_bytes"], v["name"]
        session.top = v["counter"] - 1
        assert session.open(data, v["interval"]) == (v["kind"], v["counter"], body), v["name"]
    for v in vectors["received"]:
        counts: dict = {}
        crcs = {0: 0x1234, 16: 0x4321}
        session = Session(v["address"], bytes(16), unhexlify(v["key"]), lambda kind: crcs[kind], counts)  # noqa: B023
        session.top, session.seen = v["top"], v["seen"]
        got, refused = outcome(session.open, unhexlify(v["frame"]), v["interval"])
        assert refused == v.get("refused", ""), v["name"]
        if refused:
            assert counts == {refused: 1}, v["name"]
            assert (session.top, session.seen) == (v["top"], v["seen"]), v["name"]
        else:
            assert got == (v["kind"], v["counter"], unhexlify(v["body"])), v["name"]
            assert (session.top, session.seen) == (v["top_then"], v["seen_then"]), v["name"]
            assert not counts, v["name"]
    return len(vectors["sealed"]) + len(vectors["received"])


def joins(vectors: dict) -> int:
    for v in vectors["joins"]:
        root, address, counter = unhexlify(v["root"]), v["address"], v["join_counter"]
        assert hexlify(join.request(root, address, counter, v["schema"], v["boot"])).decode() == v["JOIN_REQ"]
        keys = join.keys(root, address, counter, unhexlify(v["host_nonce"]))
        assert [hexlify(key).decode() for key in keys] == [v["uplink_key"], v["downlink_key"]]
        accepted = join.accept(unhexlify(v["JOIN_ACC"]), root, address, counter, lambda kind: 0x1234, {})
        assert accepted[1] == v["host_ms"] // 4 * 4
        assert accepted[2:] == (v["slot"], v["slot_map"], unhexlify(v["tesla_key"]))
        assert tesla.anchor(accepted[1] // tesla.INTERVAL) == v["tesla_interval"]
        assert hexlify(accepted[0].seal(0, b"up")).decode() == v["first_up"]["frame"]
        assert accepted[0].open(unhexlify(v["first_down"]["frame"])) == (16, 1, b"down")
    return len(vectors["joins"])


def day(vectors: dict) -> int:
    keys = {int(n): unhexlify(key) for n, key in vectors["keys"].items()}
    for n in keys:
        if n - 1 in keys:
            assert tesla.before(n, keys[n]) == keys[n - 1], n
    at, link = max(keys), keys[max(keys)]
    while at > min(keys):
        link = tesla.before(at, link)
        at -= 1
        assert keys.get(at, link) == link, at
    start = vectors["start"]
    counts: dict = {}
    node = tesla.Group(tesla.Chain(start["interval"], unhexlify(start["key"])), counts, lambda size: bytes(size))
    for address in start["addresses"]:
        node.last[address] = 0
    node.zones[start["zone"]] = unhexlify(vectors["zone_key"])
    steps = follow(node, vectors["heard"])
    for lesson in vectors["lessons"]:
        start = lesson["start"]
        drawn = [0]
        node = tesla.Group(
            tesla.Chain(start["interval"], unhexlify(start["key"])),
            {},
            lambda size: drawn[0].to_bytes(size, "big"),  # noqa: B023
        )
        for address in start["addresses"]:
            node.last[address] = 0
        for address, key in start["zones"].items():
            node.zones[int(address)] = unhexlify(key)
        steps += follow(node, lesson["steps"], drawn)
    return steps


def written(event) -> list:
    what, kind, address, counter, body = event
    return [what, kind, address, counter, hexlify(body).decode()]


def follow(node, steps: list, drawn=None) -> int:
    for v in steps:
        if drawn:
            drawn[0] = v.get("random", 0)
        if "look" in v:
            event = node.poll(v["now_ms"])
            assert (written(event) if event else None) == v["look"], v["name"]
        else:
            events, refused = outcome(node.receive, unhexlify(v["frame"]), v["now_ms"], v["bound_ms"])
            assert refused == v.get("refused", ""), v["name"]
            assert [written(event) for event in events or ()] == v.get("events", []), v["name"]
        assert node.counts == v["counts"], v["name"]
    return len(steps)


def signature(v: dict) -> int:
    public = unhexlify(v["public"])
    assert len(unhexlify(v["signature"])) == 1456
    assert lms.verify(public, unhexlify(v["message"]), unhexlify(v["signature"]))
    for bad in v["spoilt"]:
        assert not lms.verify(public, unhexlify(bad["message"]), unhexlify(bad["signature"]))
    return 1 + len(v["spoilt"])


def check(folder: str) -> list:
    """How many vectors of each file passed; AssertionError names the one that did not."""
    assert frame.SEALED == 1
    assert aes.Ccm
    return [
        frames(load(folder, "security_frames.json")),
        joins(load(folder, "security_join.json")),
        day(load(folder, "security_tesla.json")),
        signature(load(folder, "security_lms.json")),
    ]


if __name__ == "__main__":
    sys.stdout.write(json.dumps(check(sys.argv[1])))
