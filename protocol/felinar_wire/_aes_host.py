"""AES-128 by `cryptography`, for interpreters without `cryptolib`."""

from collections.abc import Callable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESCCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC, ECB


def ecb(key: bytes) -> Callable[[bytes], bytes]:
    """A function that enciphers whole blocks, each on its own."""
    return Cipher(AES(key), ECB()).encryptor().update


def cbc_mac(key: bytes) -> Callable[[bytes], bytes]:
    """A function that returns the CBC-MAC (zero vector) of whole blocks."""
    cipher = Cipher(AES(key), CBC(bytes(16)))
    return lambda blocks: cipher.encryptor().update(blocks)[-16:]


class Ccm:
    """`ccm.Ccm` in one C call: the same arguments, the same bytes."""

    def __init__(self, key: bytes) -> None:
        self._aead = {n: AESCCM(key, n) for n in (4, 8)}
        self._key = key

    def _of(self, tag: int) -> AESCCM:
        return self._aead.get(tag) or AESCCM(self._key, tag)

    def seal(self, nonce: bytes, plain: bytes, tag: int, aad: bytes = b"") -> bytes:
        """Ciphertext and a tag of `tag` bytes."""
        return self._of(tag).encrypt(nonce, plain, aad)

    def open(self, nonce: bytes, data: bytes, tag: int, aad: bytes = b"") -> bytes | None:
        """The plain text, or None when the tag is not right."""
        try:
            return self._of(tag).decrypt(nonce, data, aad)
        except InvalidTag:
            return None
