"""Verification of HSS/LMS signatures with SHA-256 (RFC 8554, NIST SP 800-208); updates use one level, W8/H10."""

from hashlib import sha256

_HEIGHTS = (5, 10, 15, 20, 25)  # LMS_SHA256_M32_H5 is type 5, and so on
_OTS = ((1, 265, 7), (2, 133, 6), (4, 67, 4), (8, 34, 0))  # w, chains, shift of the sum; LMOTS_SHA256_N32_W1 is type 1


def _number(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "big")


def _verify(public: bytes, message: bytes, data: bytes) -> "bytes | None":
    # What follows the signature at the front of `data`, or None when it is not good.
    lms = _number(public, 0) - 5
    ots = _number(public, 4) - 1
    if not (0 <= lms < 5 and 0 <= ots < 4 and len(public) == 56):
        return None
    height = _HEIGHTS[lms]
    w, chains, shift = _OTS[ots]
    path = 40 + 32 * chains
    end = path + 4 + 32 * height
    q = _number(data, 0)
    if len(data) < end or data[4:8] != public[4:8] or data[path : path + 4] != public[:4] or q >> height:
        return None
    ident = public[8:24]
    leaf = ident + data[:4]
    digest = sha256(leaf + b"\x81\x81" + data[8:40] + message).digest()
    top = (1 << w) - 1
    digits = [byte >> s & top for byte in digest for s in range(8 - w, -1, -w)]
    total = top * len(digits) - sum(digits) << shift
    digits += [total >> s & top for s in range(16 - w, -1, -w)][: chains - len(digits)]
    key = sha256(leaf + b"\x80\x80")
    block = bytearray(leaf + bytes(35))
    at = 40
    for i, digit in enumerate(digits):
        block[20] = i >> 8
        block[21] = i & 255
        block[23:] = data[at : at + 32]
        for j in range(digit, top):
            block[22] = j
            block[23:] = sha256(block).digest()
        key.update(block[23:])
        at += 32
    node = 1 << height | q
    root = sha256(ident + node.to_bytes(4, "big") + b"\x82\x82" + key.digest()).digest()
    at += 4
    while node > 1:
        other = data[at : at + 32]
        both = other + root if node & 1 else root + other
        node >>= 1
        root = sha256(ident + node.to_bytes(4, "big") + b"\x83\x83" + both).digest()
        at += 32
    return data[end:] if root == public[24:] else None


def verify(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether an HSS signature of any number of levels is good; `public` is the 60-byte HSS public key.

    One level of W8/H10 is 1,456 bytes. Bytes of any kind give an answer, never an error.
    """
    levels = _number(signature, 0)
    if len(public) != 60 or levels + 1 != _number(public, 0) or levels > 7:
        return False
    public = public[4:]
    signature = signature[4:]
    for _ in range(levels):
        rest = _verify(public, signature[_length(public, signature) :][:56], signature)
        if rest is None:
            return False
        public = rest[:56]
        signature = rest[56:]
    return _verify(public, message, signature) == b""


def _length(public: bytes, data: bytes) -> int:
    # Bytes of a signature under `public`, whose types were not checked yet.
    ots = _number(public, 4) - 1
    lms = _number(public, 0) - 5
    return 44 + 32 * (_OTS[ots][1] + _HEIGHTS[lms]) if 0 <= ots < 4 and 0 <= lms < 5 else len(data)
