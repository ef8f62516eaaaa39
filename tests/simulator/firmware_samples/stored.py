# NVS: kinds, sizes, errors, and a boot counter.
from esp32 import NVS

n = NVS("felinar")
n.set_i32("a", -5)
n.set_i32("b", 2147483647)
print("integer", n.get_i32("a"), n.get_i32("b"))
n.set_blob("c", b"abc")
buf = bytearray(8)
size = n.get_blob("c", buf)
print("blob", size, bytes(buf[:size]))


def error(f, *args):
    try:
        f(*args)
    except OSError as e:
        return e.args[0]


n.erase_key("a")
print(
    "errors",
    error(n.get_i32, "a"),
    error(n.erase_key, "a"),
    error(n.get_blob, "c", bytearray(2)),
    error(n.get_i32, "c"),
    error(n.set_i32, "x" * 16, 1),
)
m = NVS("other")
m.set_blob("c", bytearray(b"there"))
size = m.get_blob("c", buf)
n.commit()
print("other", bytes(buf[:size]))
try:
    boot = n.get_i32("boot") + 1
except OSError:
    boot = 1
n.set_i32("boot", boot)
print("boot", boot)
