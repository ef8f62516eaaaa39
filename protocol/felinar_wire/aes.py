"""AES-128 and what is made of it: CCM (RFC 3610, NIST SP 800-38C), CMAC (RFC 4493), key derivation (NIST SP 800-108).

The cipher runs in C: `cryptolib` on the node, `cryptography` on the host. CBC over the padded message is the CBC-MAC in
one call, ECB over the counter blocks the key stream in one call, and big integers do the exclusive-or.
"""

_ZERO = bytes(16)
_COUNT = tuple([b""] + [bytes((0, i)) for i in range(18)])  # an empty piece, then counters: enough for 255 bytes


class Composed:
    """CCM under one key: nonce 7 to 13 bytes, tag 4 to 16 bytes (even), text up to 256 bytes."""

    def __init__(self, key: bytes) -> None:
        self._ecb = ecb(key)
        self._mac = cbc_mac(key)

    def _tag(self, nonce: bytes, plain: bytes, tag: int, aad: bytes) -> bytes:
        # No frame has associated data; the standards' vectors do, laid out in blocks as RFC 3610 section 2.2 says.
        n = len(plain)
        q = 15 - len(nonce)
        first = bytes((tag - 2 << 2 | q - 1 | ((aad and 64) or 0),))
        return self._mac(b"".join((first, nonce, n.to_bytes(q, "big"), aad, plain, bytes(-n & 15))))  # type: ignore

    def _flip(self, nonce: bytes, data: bytes) -> bytes:
        # `data` has one block, the tag's, in front of the text.
        n = len(data)
        front = b"\1" + nonce
        if len(nonce) < 13:
            front = bytes((14 - len(nonce),)) + nonce + _ZERO[: 13 - len(nonce)]
        stream = self._ecb(front.join(_COUNT[: n + 31 >> 4]))
        return (int.from_bytes(data, "big") ^ int.from_bytes(stream[:n], "big")).to_bytes(n, "big")

    def seal(self, nonce: bytes, plain: bytes, tag: int, aad: bytes = b"") -> bytes:
        """Ciphertext and a tag of `tag` bytes."""
        out = self._flip(nonce, self._tag(nonce, plain, tag, aad) + plain)
        return out[16:] + out[:tag]

    def open(self, nonce: bytes, data: bytes, tag: int, aad: bytes = b""):  # type: ignore[no-untyped-def]
        """The plain text, or None when the tag is not right."""
        out = self._flip(nonce, data[-tag:] + bytes(16 - tag) + data[:-tag])
        plain = out[16:]
        return plain if self._tag(nonce, plain, tag, aad)[:tag] == out[:tag] else None


def cmac(key: bytes, data: bytes) -> bytes:
    """The 16-byte CMAC of `data`; take its first bytes for a shorter tag."""
    n = int.from_bytes(ecb(key)(_ZERO), "big")
    rest = -len(data) & 15 if data else 16
    for _ in range(2 if rest else 1):
        n <<= 1
        if n >> 128:
            n ^= (1 << 128) | 0x87
    if rest:
        data += b"\x80" + _ZERO[1:rest]
    return cbc_mac(key)(data[:-16] + (int.from_bytes(data[-16:], "big") ^ n).to_bytes(16, "big"))  # type: ignore


def derive(key: bytes, label: bytes, context: bytes) -> bytes:
    """A 16-byte key for one purpose: CMAC(key, 01 | label | 00 | context | 0080)."""
    return cmac(key, b"\x01" + label + b"\x00" + context + b"\x00\x80")


try:
    from cryptolib import aes as _aes

    Ccm = Composed

    def ecb(key: bytes):  # type: ignore[no-untyped-def]
        """A function that enciphers whole blocks, each on its own."""
        return _aes(key, 1).encrypt

    def cbc_mac(key: bytes):  # type: ignore[no-untyped-def]
        """A function that gives the last block of CBC from a zero vector over whole blocks."""
        # A fresh object for each message: in this mode it carries the last block over to the next call.
        return lambda blocks: _aes(key, 2, _ZERO).encrypt(blocks)[-16:]

except ImportError:
    from felinar_wire._aes_host import Ccm as Ccm  # type: ignore[assignment]
    from felinar_wire._aes_host import cbc_mac as cbc_mac
    from felinar_wire._aes_host import ecb as ecb
