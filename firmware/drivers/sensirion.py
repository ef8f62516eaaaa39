"""Sensirion's way on I2C: big-endian commands and words of 16 bits, each word with a CRC-8 behind it.

Polynomial 0x31, initial value 0xFF, no final XOR; the check value of 0xBEEF is 0x92 (data sheets of SPS30 section 4.2,
SHT4x 4.4, SCD4x 3.12, SGP41 4.5).
"""

from drivers import CRC, Chip, DriverError


def crc8(data, start: int, end: int) -> int:
    crc = 0xFF
    for i in range(start, end):
        crc ^= data[i]
        for _ in range(8):
            crc = (crc << 1 ^ 0x31 if crc & 0x80 else crc << 1) & 0xFF
    return crc


class Sensirion(Chip):
    def command(self, code: int, *words: int) -> None:
        """Send a 16-bit command with its arguments."""
        data = bytearray(2 + 3 * len(words))
        data[0] = code >> 8
        data[1] = code & 0xFF
        at = 2
        for word in words:
            data[at] = word >> 8
            data[at + 1] = word & 0xFF
            data[at + 2] = crc8(data, at, at + 2)
            at += 3
        self.write(data)

    async def words(self, n: int, wait_ms: int = 0, again_ms: int = 5, tries: int = 4) -> bytearray:
        """Read n words and return their 2n bytes; DriverError: CRC, or TIMEOUT when the chip refuses to the end."""
        data = bytearray(3 * n)
        await self.poll(data, wait_ms, again_ms, tries)
        for i in range(n):
            at = 3 * i
            if crc8(data, at, at + 2) != data[at + 2]:
                raise DriverError(CRC)
            data[2 * i] = data[at]
            data[2 * i + 1] = data[at + 1]
        return data[: 2 * n]
