"""The outbox: a log on raw NOR flash that keeps reports and events until the host has acknowledged them."""

# Flash facts this builds on: programming only clears bits, an erase sets a whole block, either may stop anywhere when
# the power goes. So a record counts once its CRC is right, and a block counts as erased once a mark written behind the
# erase says so (the "clean marker" of JFFS2). Blocks form a ring: generation modulo number of blocks is the place.
#
# block:  mark (2) | generation (4) | boot (2) | CRC-32 (4) | records ...     all zero: retired, to be erased
# record: state (4 bits: 15 pending, 0 acknowledged), kind (4) | length (1) | boot - boot of the block (1) | seq (4)
#         | low 24 bits of the CRC-32 (3) | body
import struct
from array import array
from binascii import crc32

from micropython import const

MAX_BODY = 80
SPAN = 32  # bits of an ACK
_HOT = const(8)  # records that are handed out before older ones

_MARK = b"fO"
_BLOCK = const(12)
_RECORD = const(10)
_WINDOW = const(90)  # _RECORD + MAX_BODY: the longest record
_BLANK = b"\xff" * _WINDOW
_PENDING = const(0xF0)
_COUNT = const(4)  # ioctl of the block protocol
_SIZE = const(5)
_ERASE = const(6)


class OutboxError(Exception):
    """The record could not be kept: "body" (too long or a kind that is not kept), "flash" (it does not hold data)."""


def _crc(record) -> int:
    return crc32(record[_RECORD:], crc32(record[1:7], record[0] & 15)) & 0xFFFFFF


class Outbox:
    """Keeps records on a partition (readblocks, writeblocks with offset, ioctl; at least 3 blocks) until acknowledged.

    Holds no index in RAM, only a count for each block. Nothing is erased before all of it is acknowledged, except when
    the ring is full: then the oldest block goes and its records are counted in `dropped`.
    """

    def __init__(self, partition) -> None:
        self._part = partition
        n = partition.ioctl(_COUNT, 0)
        self._n = n
        self._size = partition.ioctl(_SIZE, 0)
        if n < 3:
            raise OutboxError("flash")
        self._buf = bytearray(_WINDOW)
        self._view = memoryview(self._buf)
        self._waiting = array("H", bytes(2 * n))  # pending records of each block
        self._clean = bytearray(n)  # blocks known to be wholly erased
        self._gen = -1  # the block that is written to
        self._at = self._size
        self._boot = 0  # boot of the block that is written to
        self._base = 0  # boot of the block that is being read
        self._tail = 0  # nothing is pending before this block and offset
        self._from = _BLOCK
        self._junk = -1
        self._first: list = []  # generation and offset of records that are no report
        self.pending = 0
        self.dropped = 0  # records lost to a full ring or to damaged flash, since this start
        self.last_boot = 0  # boot of the newest record found: should the boot counter be lost, it goes on from here
        self._open()

    # Blocks

    def _read(self, block: int, buf, at: int) -> None:
        try:
            self._part.readblocks(block, buf, at)
        except OSError:
            raise OutboxError("flash") from None

    def _write(self, block: int, buf, at: int) -> None:
        try:
            self._part.writeblocks(block, buf, at)
        except OSError:
            raise OutboxError("flash") from None

    def _head(self, block: int) -> int:
        """Generation of a block, or -1; leaves its boot in _base."""
        self._read(block, self._view[:_BLOCK], 0)
        gen, boot, crc = struct.unpack_from("<IHI", self._buf, 2)
        if self._buf[:2] != _MARK or crc != crc32(self._buf[2:8]) or gen % self._n != block:
            return -1
        self._base = boot
        return gen

    def _open(self) -> None:
        n = self._n
        for block in range(n):
            self._gen = max(self._gen, self._head(block))
            self._clean[block] = self._buf[:2] == _MARK and self._buf[2:_BLOCK] == _BLANK[: _BLOCK - 2]
        if self._gen < 0:
            return
        self._tail = max(0, self._gen - n + 1)
        for gen in range(self._tail, self._gen + 1):
            block = gen % n
            if self._head(block) != gen:
                continue
            self.last_boot = self._base
            end = at = _BLOCK
            self._junk = -1
            while True:
                at = self._find(block, at)
                if at < 0:
                    break
                if self._buf[0] >= _PENDING:
                    self._waiting[block] += 1
                    self._hasten(gen, at)
                self.last_boot = self._base + self._buf[2]
                at += _RECORD + self._buf[1]
                end = at
            self.pending += self._waiting[block]
            if gen == self._gen:
                # Behind a torn record its whole possible length is left alone: those cells may be half programmed.
                self._at = max(end, self._junk + _WINDOW) if self._junk >= 0 else end
                self._boot = self._base
            elif not self._waiting[block]:
                self._retire(block)

    def _hasten(self, gen: int, at: int) -> None:
        if self._buf[0] & 15:
            self._first.append((gen, at))
            if len(self._first) > _HOT:
                del self._first[0]

    def _retire(self, block: int) -> None:
        # Zeros over the head: however an erase ends, it cannot bring the old head back.
        self._write(block, bytes(_BLOCK), 0)

    def _lose(self, block: int, count: int) -> None:
        self._waiting[block] -= count
        self.pending -= count
        self.dropped += count

    def _erase(self, block: int) -> None:
        self._lose(block, self._waiting[block])
        self._retire(block)
        try:
            self._part.ioctl(_ERASE, block)
        except OSError:
            raise OutboxError("flash") from None
        self._write(block, _MARK, 0)
        self._clean[block] = 1

    def _advance(self, boot: int) -> bool:
        """Begin the next block of the ring; what is pending in it is dropped."""
        old = self._gen
        gen = old + 1
        block = gen % self._n
        if not self._clean[block]:
            self._erase(block)
        head = struct.pack("<IH", gen, boot)
        self._write(block, head + struct.pack("<I", crc32(head)), 2)
        self._clean[block] = 0
        self._gen = gen
        self._boot = boot
        good = self._head(block) == gen
        self._at = _BLOCK if good else self._size
        if old >= 0 and not self._waiting[old % self._n]:
            self._retire(old % self._n)
        return good

    def tidy(self) -> bool:
        """Erase the next block ahead of its use if nothing in it is pending; True if it did (that took 50-400 ms)."""
        block = (self._gen + 1) % self._n
        if self._clean[block] or self._waiting[block]:
            return False
        self._erase(block)
        return True

    @property
    def free(self) -> int:
        """Blocks without a pending record, the one being written to left out."""
        return sum(not count for count in self._waiting) - (self._gen >= 0 and not self._waiting[self._gen % self._n])

    @property
    def erases(self) -> int:
        """How often each block has been erased, as far as the ring tells: it turns once for that."""
        return max(0, self._gen) // self._n

    # Records

    def _find(self, block: int, at: int) -> int:
        """Offset of the first sound record at or behind `at`, read into _buf, or -1; _junk is the last bad byte met."""
        size = self._size
        buf = self._buf
        while at + _RECORD <= size:
            view = self._view[: min(_WINDOW, size - at)]
            self._read(block, view, at)
            n = _RECORD + buf[1]
            if n <= len(view) and _crc(buf[:n]) == buf[7] | buf[8] << 8 | buf[9] << 16:
                return at
            if buf[0] != 0xFF:
                self._junk = at
            elif view == _BLANK[: len(view)]:
                at += len(view)
                continue
            at += 1
        return -1

    def _each(self):
        """Block and offset of every pending record, oldest first; it stands in _buf, the boot of its block in _base."""
        oldest = self._gen - self._n + 1
        if self._tail < oldest:
            self._tail = oldest
            self._from = _BLOCK
        gen = self._tail
        at = self._from
        while gen <= self._gen:
            block = gen % self._n
            left = self._waiting[block]
            if left:
                self._head(block)
            while left:
                at = self._find(block, at)
                if at < 0:
                    self._lose(block, left)  # damaged since they were written
                    if not self._waiting[block] and gen < self._gen:
                        self._retire(block)
                    break
                here = at
                at += _RECORD + self._buf[1]
                if self._buf[0] >= _PENDING:
                    left -= 1
                    yield gen, here
            gen += 1
            at = _BLOCK

    def append(self, kind: int, seq: int, boot: int, body: bytes) -> None:
        """Keep a record (kind 0-14, seq 30 bits, boot 16 bits); it is durable when this returns. Raises OutboxError."""
        n = _RECORD + len(body)
        if n > _WINDOW or not 0 <= kind < 15:
            raise OutboxError("body")
        for _ in range(3):
            delta = boot - self._boot
            if (self._at + n > self._size or not 0 <= delta < 256) and not self._advance(boot):
                continue
            record = bytearray(n)
            struct.pack_into("<BBBI", record, 0, _PENDING | kind, len(body), boot - self._boot, seq)
            record[_RECORD:] = body
            crc = _crc(record)
            record[7] = crc & 255
            record[8] = crc >> 8 & 255
            record[9] = crc >> 16
            block = self._gen % self._n
            at = self._at
            self._write(block, record, at)
            self._read(block, self._view[:n], at)
            if self._buf[:n] == record:
                self._at = at + n
                self._waiting[block] += 1
                self.pending += 1
                self._hasten(self._gen, at)
                return
            self._at = at + _WINDOW
        raise OutboxError("flash")

    def _entry(self) -> tuple:
        kind, size, delta, seq = struct.unpack_from("<BBBI", self._buf, 0)
        return kind & 15, self._base + delta, seq, bytes(self._view[_RECORD : _RECORD + size])

    def _hot(self):
        """Each of _first that is pending still, as it stands in _buf; forgets the others."""
        for place in self._first[:]:
            gen, at = place
            block = gen % self._n
            if self._head(block) == gen and self._find(block, at) == at and self._buf[0] >= _PENDING:
                yield place
            else:
                self._first.remove(place)

    def oldest(self):
        """(kind, boot, seq, body) of the oldest pending record, or None."""
        for _ in self._each():
            return self._entry()
        return None

    def peek(self, n: int) -> list:
        """Up to n pending records as (kind, boot, seq, body): what is no report first (the newest 8), then the oldest."""
        out = [self._entry() for _ in self._hot()][:n]
        first = True
        for place in self._each():
            if first:
                self._tail, self._from = place
                first = False
            if len(out) >= n:
                break
            if place not in self._first:
                out.append(self._entry())
        return out

    def _take(self, place: tuple, boot: int, base: int, bitmap: int) -> int:
        """Take off the record in _buf if it is meant: 1; 0 if not, -1 if none behind it can be."""
        gen, at = place
        kind, there, seq, _ = self._entry()
        seq -= base
        if there > boot or (there == boot and seq >= SPAN):
            return -1  # 32 bits end here
        if there < boot or seq < 0 or not bitmap >> seq & 1:
            return 0
        block = gen % self._n
        self._write(block, bytes((kind,)), at)
        self._waiting[block] -= 1
        self.pending -= 1
        if not self._waiting[block] and gen < self._gen:
            self._retire(block)
        return 1

    def acknowledge(self, boot: int, base: int, bitmap: int) -> int:
        """Take off what the host has: of that boot base + i for each bit i of 32. Returns how many that were."""
        done = misses = 0
        for place in self._hot():
            done += self._take(place, boot, base, bitmap) > 0
        for place in self._each():
            taken = self._take(place, boot, base, bitmap)
            if taken < 0 or misses > SPAN:  # the host can only name what was handed out
                break
            done += taken
            misses += not taken
        return done
