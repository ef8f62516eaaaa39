"""AES-128 in C: `cryptolib` on the node, `cryptography` on the host, behind the same two functions.

`ecb(key)` gives a function that enciphers whole blocks; `cbc_mac(key)` one that returns the last cipher block of a CBC
run from a zero vector over whole blocks, which is the CBC-MAC in one call.
"""

try:
    from cryptolib import aes as _aes

    def ecb(key: bytes):  # type: ignore[no-untyped-def]
        return _aes(key, 1).encrypt

    def cbc_mac(key: bytes):  # type: ignore[no-untyped-def]
        # A fresh object for each message: in this mode it carries the last block over to the next call.
        return lambda blocks: _aes(key, 2, _ZERO).encrypt(blocks)[-16:]

except ImportError:
    from felinar_wire._aes_host import cbc_mac as cbc_mac
    from felinar_wire._aes_host import ecb as ecb

_ZERO = bytes(16)
