"""AES-CCM (RFC 3610, NIST SP 800-38C) out of one CBC and one ECB call and one exclusive-or of big integers."""

from felinar_wire import aes

# Block counters 0 to 16 behind an empty piece: enough for a frame, which is at most 255 bytes.
_COUNT = tuple([b""] + [bytes((0, i)) for i in range(18)])
_ZERO = bytes(16)


class Composed:
    """CCM under one key: nonce 7 to 13 bytes, tag 4 to 16 bytes (even), text up to 256 bytes."""

    def __init__(self, key: bytes) -> None:
        self._ecb = aes.ecb(key)
        self._mac = aes.cbc_mac(key)

    def _tag(self, nonce: bytes, plain: bytes, tag: int, aad: bytes) -> bytes:
        n = len(plain)
        left = 14 - len(nonce)
        if aad:
            size = len(aad)
            aad = (size.to_bytes(2, "big") if size < 0xFF00 else b"\xff\xfe" + size.to_bytes(4, "big")) + aad
            aad += _ZERO[: -len(aad) & 15]
            left |= 64
        first = bytes((tag - 2 << 2 | left,))
        return self._mac(  # type: ignore[no-any-return]
            b"".join((first, nonce, n.to_bytes(15 - len(nonce), "big"), aad, plain, _ZERO[: -n & 15]))
        )

    def _flip(self, nonce: bytes, data: bytes) -> bytes:
        # `data` has one block, the tag's, in front of the text.
        n = len(data)
        front = bytes((14 - len(nonce),)) + nonce + _ZERO[: 13 - len(nonce)]
        stream = self._ecb(front.join(_COUNT[: n + 31 >> 4]))
        return (int.from_bytes(data, "big") ^ int.from_bytes(stream[:n], "big")).to_bytes(n, "big")

    def seal(self, nonce: bytes, plain: bytes, tag: int, aad: bytes = b"") -> bytes:
        """Ciphertext and a tag of `tag` bytes."""
        out = self._flip(nonce, self._tag(nonce, plain, tag, aad) + plain)
        return out[16:] + out[:tag]

    def open(self, nonce: bytes, data: bytes, tag: int, aad: bytes = b""):  # type: ignore[no-untyped-def]
        """The plain text, or None when the tag is not right."""
        out = self._flip(nonce, data[-tag:] + _ZERO[tag:] + data[:-tag])
        plain = out[16:]
        return plain if self._tag(nonce, plain, tag, aad)[:tag] == out[:tag] else None


try:
    from felinar_wire._aes_host import Ccm as Ccm
except ImportError:
    Ccm = Composed  # type: ignore[assignment, misc]
