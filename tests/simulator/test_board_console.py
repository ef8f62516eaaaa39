"""The console as a program sees it: blocking reads, polling, interruption, the ring that overflows."""

from __future__ import annotations

from collections.abc import Callable

from .conftest import Bench

Start = Callable[..., Bench]


def test_a_read_blocks_until_all_bytes_have_come(start: Start) -> None:
    bench = start(
        "import sys, time\nprint(sys.stdin.buffer.read(4), time.time())\nb = bytearray(2); sys.stdin.buffer.readinto(b); print(b)"
    )
    bench.run(3)
    bench.board.console.write(b"abc")
    assert bench.run(5) == []
    bench.board.console.write(b"def")
    assert bench.run(1) == ["b'abcd' 8", "bytearray(b'ef')"]


def test_poll_says_readable_from_the_first_byte(start: Start) -> None:
    program = (
        "import sys, select, time\np = select.poll(); p.register(sys.stdin, select.POLLIN)\nprint(p.poll(0), p.poll(1000), time.time())\n"
        "n = 0\nwhile n < 5:\n  if p.poll(): n += len(sys.stdin.buffer.read(1))\n  print(n)\n"
        "print(p.poll(0)); time.sleep(5); print(len(p.poll(0)), sys.stdin.read(1))"
    )
    bench = start(program)
    bench.run(2)
    bench.board.console.write(b"hello")
    bench.run(2)
    bench.board.console.write(b"x")
    assert bench.run(5) == ["[] [] 1", "1", "2", "3", "4", "5", "[]", "1 x"]


def test_stream_reader_and_binary_bytes(start: Start) -> None:
    program = (
        "import sys, asyncio, micropython\nmicropython.kbd_intr(-1)\nasync def main():\n  r = asyncio.StreamReader(sys.stdin.buffer)\n"
        "  w = asyncio.StreamWriter(sys.stdout.buffer, {})\n  while True:\n    w.write(await r.read(1)); await w.drain()\nasyncio.run(main())"
    )
    bench = start(program)
    bench.run(1)
    del bench.bytes[:]
    everything = bytes(range(256))
    bench.board.console.write(everything)
    bench.run(1)
    assert bytes(bench.bytes) == everything, "binary goes through as it is, Ctrl-C and line feeds included"


def test_text_gets_carriage_returns(start: Start) -> None:
    bench = start("import sys\nprint('a', 1, sep='-')\nsys.stdout.write('b\\n')\nsys.stdout.buffer.write(b'c\\n')")
    bench.run(1)
    assert b"a-1\r\nb\r\nc\n" in bench.bytes


def test_control_c_interrupts_unless_it_is_told_not_to(start: Start) -> None:
    program = (
        "import micropython, time\ntry:\n  time.sleep(100)\nexcept KeyboardInterrupt: print('interrupted', time.time())\n"
        "micropython.kbd_intr(-1)\ntime.sleep(10)\nprint('slept')"
    )
    bench = start(program)
    bench.run(2)
    bench.board.console.write(b"\x03")
    bench.run(3)
    bench.board.console.write(b"\x03")
    bench.run(10)
    assert bench.lines == ["interrupted 2", "slept"]


def test_a_program_that_does_not_read_loses_what_the_ring_cannot_hold(start: Start) -> None:
    program = "import sys, time\ntime.sleep(5)\nwhile True: print(sys.stdin.buffer.read(20)[0])"
    bench = start(program)
    bench.run(1)
    bench.board.console.write(bytes(4 + k % 250 for k in range(500)))
    lines = bench.run(10)
    assert [int(line) for line in lines] == [4 + k % 250 for k in range(0, 260, 20)], "260 bytes: 13 times 20"
    assert bench.board.console.overflowed == 240


def test_writing_takes_its_time(start: Start) -> None:
    program = (
        "import sys, time\nt = time.ticks_us(); sys.stdout.buffer.write(bytes(1152)); d = time.ticks_diff(time.ticks_us(), t)\n"
        "print('\\n', 100000 <= d < 101000)"
    )
    assert start(program).run(2)[-1].endswith("True"), "1152 bytes at 115,200 baud are 100 ms"
