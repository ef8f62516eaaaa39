"""AES-CMAC (RFC 4493, NIST SP 800-38B) and key derivation with it (NIST SP 800-108, counter mode, one block)."""

from felinar_wire import aes


def cmac(key: bytes, data: bytes) -> bytes:
    """The 16-byte CMAC of `data`; take its first bytes for a shorter tag."""
    n = int.from_bytes(aes.ecb(key)(bytes(16)), "big")
    rest = -len(data) & 15 if data else 16
    for _ in range(2 if rest else 1):
        n <<= 1
        if n >> 128:
            n ^= (1 << 128) | 0x87
    if rest:
        data += b"\x80" + bytes(rest - 1)
    last = int.from_bytes(data[-16:], "big") ^ n
    return aes.cbc_mac(key)(data[:-16] + last.to_bytes(16, "big"))  # type: ignore[no-any-return]


def derive(key: bytes, label: bytes, context: bytes) -> bytes:
    """A 16-byte key for one purpose: CMAC(key, 01 | label | 00 | context | 0080)."""
    return cmac(key, b"\x01" + label + b"\x00" + context + b"\x00\x80")
