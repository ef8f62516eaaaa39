"""Checks the published vectors; the same file runs under both interpreters. Arguments: the vectors' path."""

import json
import sys
from binascii import unhexlify

from felinar_wire import aes, hmac, lms


def laid_out(aad: bytes) -> bytes:
    """Associated data in blocks, its length in front (RFC 3610 section 2.2)."""
    if not aad:
        return b""
    size = len(aad)
    aad = (size.to_bytes(2, "big") if size < 0xFF00 else b"\xff\xfe" + size.to_bytes(4, "big")) + aad
    return aad + bytes(-len(aad) % 16)


def check(vectors: dict) -> list:
    """The sources of the vectors that pass; raises AssertionError naming the one that doesn't."""
    passed = []
    for v in vectors["cmac"]:
        assert aes.cmac(unhexlify(v["key"]), unhexlify(v["message"])) == unhexlify(v["tag"]), v["source"]
        passed.append(v["source"])
    for v in vectors["ccm"]:
        nonce, plain, sealed = unhexlify(v["nonce"]), unhexlify(v["plain"]), unhexlify(v["sealed"])
        whole = unhexlify(v["aad"]) * v.get("aad_repeat", 1)
        for kind in (aes.Composed, aes.Ccm):
            one = kind(unhexlify(v["key"]))
            aad = laid_out(whole) if kind is aes.Composed else whole
            assert one.seal(nonce, plain, v["tag"], aad) == sealed, v["source"]
            assert one.open(nonce, sealed, v["tag"], aad) == plain, v["source"]
            for i in range(len(sealed)):
                bad = bytearray(sealed)
                bad[i] ^= 1 << (i & 7)
                assert one.open(nonce, bytes(bad), v["tag"], aad) is None, v["source"]
        passed.append(v["source"])
    for v in vectors["hmac_sha256"]:
        mac = unhexlify(v["mac"])
        assert hmac.hmac(unhexlify(v["key"]), unhexlify(v["message"]))[: len(mac)] == mac, v["source"]
        passed.append(v["source"])
    for v in vectors["hss"]:
        public, message, signature = unhexlify(v["public"]), unhexlify(v["message"]), unhexlify(v["signature"])
        assert lms.verify(public, message, signature), v["source"]
        for at in (0, 3, 7, 11, 40, 700, 1200, len(signature) // 2, len(signature) - 700, len(signature) - 1):
            bad = bytearray(signature)
            bad[at] ^= 1
            assert not lms.verify(public, message, bytes(bad)), v["source"]
        assert not lms.verify(public, message + b"x", signature), v["source"]
        assert not lms.verify(public[:-1] + b"\0", message, signature), v["source"]
        assert not lms.verify(public, message, signature + b"\0"), v["source"]
        passed.append(v["source"])
    return passed


if __name__ == "__main__":
    with open(sys.argv[1]) as file:
        sys.stdout.write(json.dumps(check(json.load(file))))
