"""HMAC-SHA-256 (RFC 2104)."""

from hashlib import sha256


def hmac(key: bytes, data: bytes) -> bytes:
    """The 32-byte HMAC-SHA-256 of `data`."""
    if len(key) > 64:
        key = sha256(key).digest()
    key += bytes(64 - len(key))
    inner = sha256(bytes([b ^ 0x36 for b in key]) + data).digest()
    return sha256(bytes([b ^ 0x5C for b in key]) + inner).digest()
