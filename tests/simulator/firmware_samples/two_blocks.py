# Counts up, keeping the count on flash in two blocks in turn: erase the older one, write value and check, forget nothing.
import time
from binascii import crc32

from esp32 import Partition

p = Partition("outbox")


def load(block):
    b = bytearray(8)
    p.readblocks(block, b, 0)
    value = int.from_bytes(b[:4], "little")
    return value if int.from_bytes(b[4:], "little") == crc32(b[:4], 1) else -1


newest = max(range(2), key=load)
count = max(0, load(newest))
print("found", count)
while True:
    newest = 1 - newest
    count += 1
    data = count.to_bytes(4, "little")
    p.ioctl(6, newest)
    p.writeblocks(newest, data + crc32(data, 1).to_bytes(4, "little"), 0)
    print("counted", count)
    time.sleep_ms(100)
