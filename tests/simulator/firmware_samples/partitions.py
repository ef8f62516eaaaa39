# What a partition does, as ESP-IDF has it.
from array import array

from esp32 import Partition


def names(*where, **more):
    return [p.info()[4] for p in Partition.find(*where, **more)]


p = Partition.find(Partition.TYPE_DATA, label="outbox")[0]
print("outbox", p.info(), "blocks", p.ioctl(4, 0), "of", p.ioctl(5, 0))
print("kinds", names(Partition.TYPE_DATA), names(Partition.TYPE_APP), names(Partition.TYPE_DATA, label="none"))
buf = bytearray(3)


def read(block, offset, n=3):
    b = bytearray(n)
    p.readblocks(block, b, offset)
    return bytes(b)


p.writeblocks(0, b"one", 0)
p.writeblocks(0, b"two", 3)
print("appended", read(0, 0), read(0, 3), read(0, 6, 1))
p.writeblocks(0, b"\x1f", 100)
p.writeblocks(0, b"\x2f", 100)
print("cleared", read(0, 100, 1))
p.writeblocks(1, b"old", 4093)
p.writeblocks(0, b"\xff" * 4096)
p.writeblocks(1, b"\x07" * 4096)
print("no offset erases", read(0, 0), read(1, 4093))
p.ioctl(6, 1)
p.ioctl(6, 0)
print("erased", read(1, 4093))
p.writeblocks(2, array("H", [0x0201, 0x0403]), 8)
words = array("H", [0, 0])
p.readblocks(2, words, 8)
print("array", words)


def error(f, *args):
    try:
        f(*args)
    except OSError as e:
        return e.args[0]


print(
    "errors",
    error(p.writeblocks, 0, b"short"),
    error(p.readblocks, 31, bytearray(4097)),
    error(p.writeblocks, 31, b"xx", 4095),
    error(Partition, "none"),
)
