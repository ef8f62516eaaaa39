"""A persistent worker for differential tests: one JSON request a line, one answer a line; runs on both interpreters.

Frames' CRCs are 257 times their kind, whatever the kind.
"""

import json
import sys
from binascii import hexlify, unhexlify

from felinar_wire import WireError, aes, hmac, join, tesla
from felinar_wire.session import Session

sys.path.append(__file__.rsplit("/", 1)[0])
from security_standards_run import laid_out

SESSIONS: dict = {}
ACCEPTED: dict = {}


def hexed(data: bytes) -> str:
    return hexlify(data).decode()


def answer(request: list):
    what = request[0]
    args = [unhexlify(a[1:]) if isinstance(a, str) and a.startswith("=") else a for a in request[1:]]
    if what == "session":
        name, address, send, receive = args
        SESSIONS[name] = Session(address, send, receive, lambda kind: 257 * kind, {})
        return None
    if what == "seal":
        name, kind, body, sent, n = args
        SESSIONS[name].sent = sent
        return hexed(SESSIONS[name].seal(kind, body, n))
    if what == "open":
        name, data, top, n = args
        session = SESSIONS[name]
        session.top, session.seen = top, 0
        kind, counter, body = session.open(data, n)
        return [kind, counter, hexed(body)]
    if what == "ccm":
        key, nonce, plain, tag, aad = args
        return hexed(aes.Composed(key).seal(nonce, plain, tag, laid_out(aad)))
    if what == "cmac":
        return hexed(aes.cmac(*args))
    if what == "hmac":
        return hexed(hmac.hmac(*args))
    if what == "request":
        return hexed(join.request(*args))
    if what == "accept":
        data, root, address, counter = args
        session, time, slot, slot_map, key = join.accept(data, root, address, counter, lambda kind: 257 * kind, {})
        SESSIONS["joined"] = session
        return [time, slot, slot_map, hexed(key)]
    if what == "tesla":
        n, key, data = args
        return [hexed(tesla.before(n, key)), hexed(tesla.mac(n, key, data))]
    if what == "group":
        at, key, address, zone = args
        counts: dict = {}
        SESSIONS["group"] = tesla.Group(tesla.Chain(at, key), counts, lambda n: bytes(n))
        SESSIONS["group"].last[address] = 0
        SESSIONS["group"].zones[address] = zone
        return None
    if what == "receive":
        events = SESSIONS["group"].receive(*args)
        return [[w, k, a, c, hexed(b)] for w, k, a, c, b in events]
    raise ValueError(what)


if __name__ == "__main__":
    for line in sys.stdin:
        try:
            result = answer(json.loads(line))
        except WireError as error:
            result = {"refused": error.reason}
        sys.stdout.write(json.dumps(result) + "\n")
