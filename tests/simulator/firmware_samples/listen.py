# Reads a microphone whose sample k is k: with asyncio, late, blocking, and as 16-bit stereo.
import asyncio
import time
from array import array

from machine import I2S, Pin


def port(**more):
    options = {"bits": 32, "format": I2S.MONO, "rate": 48000, "ibuf": 40960}
    options.update(more)
    return I2S(0, sck=Pin(14), ws=Pin(15), sd=Pin(32), mode=I2S.RX, **options)


buf = array("i", bytes(4000))


async def stream(i2s):
    reader = asyncio.StreamReader(i2s)
    expected = gaps = got = 0
    first = None
    while got < 48000:
        n = await reader.readinto(buf) // 4
        for k in range(n):
            if first is None:
                first = buf[k]
            if buf[k] != expected:
                gaps += 1
            expected = buf[k] + 1
        got += n
    return got // 1000 * 1000, first, gaps, expected


async def main():
    i2s = port()
    got, first, gaps, expected = await stream(i2s)
    print("async", got, "first", first, "gaps", gaps)
    await asyncio.sleep_ms(1000)
    kept = 0
    start = None
    while True:
        n = i2s.readinto(buf) // 4
        if not n:
            break
        if start is None:
            start = buf[0]
        kept += n
    print("late: kept", kept, "of the newest", start > expected + 40000)
    i2s.deinit()


asyncio.run(main())
i2s = port()
t = time.ticks_ms()
n = i2s.readinto(buf)
took = time.ticks_diff(time.ticks_ms(), t)
print("blocking", n // 4, "bytes", n, "took", took, "ms", buf[999] == 999)
i2s.deinit()
i2s = port(bits=16, format=I2S.STEREO)
small = array("h", bytes(8))
time.sleep_ms(50)
i2s.readinto(small)
print("16 bit stereo", list(small) == [0, 0, 0, 0])
