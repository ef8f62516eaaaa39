"""The console between board and line: speed, the small ring, interruption, noise."""

from __future__ import annotations

from felinar_sim.clock import VirtualClock
from felinar_sim.console import RING, Console


def listening(**options: int) -> tuple[VirtualClock, Console]:
    clock = VirtualClock(0)
    console = Console(clock, **options)
    console.power(True)
    return clock, console


def test_bytes_arrive_at_the_speed_of_the_line() -> None:
    clock, console = listening()
    console.write(bytes(100))
    clock.run_for(100 * 10 / 115_200 - 0.001)
    assert 0 < console.waiting < 100
    clock.run_for(0.0011)
    assert console.waiting == 100


def test_the_ring_keeps_260_bytes_and_counts_what_it_drops() -> None:
    clock, console = listening()
    console.write(bytes(300))
    clock.run_for(1)
    assert (console.waiting, console.overflowed) == (RING, 40)
    assert len(console.fetch()) == RING
    console.write(b"abc")
    clock.run_for(1)
    assert console.overflowed == 43, "what was fetched but not read by the program still fills the ring"
    console.taken(100)
    console.write(b"abc")
    clock.run_for(1)
    assert (console.fetch(), console.waiting) == (b"abc", 163)


def test_a_board_without_power_hears_nothing() -> None:
    clock, console = listening()
    console.power(False)
    console.write(b"hello")
    clock.run_for(1)
    console.power(True)
    assert (console.waiting, console.lost_unpowered) == (0, 5)


def test_interrupt_character() -> None:
    clock, console = listening()
    console.write(b"a\x03b")
    clock.run_for(1)
    assert console.flags() == 1 | 256
    assert console.flags() == 1, "told once"
    assert console.fetch() == b"ab"
    console.interrupt_on(-1)
    console.write(b"a\x03b")
    clock.run_for(1)
    assert console.flags() == 1
    assert console.fetch() == b"a\x03b"


def test_a_pulled_cable_carries_nothing() -> None:
    clock, console = listening()
    heard = bytearray()
    console.on_output.append(heard.extend)
    console.write(b"lost")
    console.pulled = True
    console.write(b"lost")
    console.output(b"lost")
    clock.run_for(1)
    console.pulled = False
    console.output(b"heard")
    assert (console.waiting, bytes(heard)) == (0, b"heard")


def test_garbage_flows_at_its_rate_and_repeats_with_the_seed() -> None:
    def collect(seed: int) -> bytes:
        clock, console = listening(seed=seed)
        heard = bytearray()
        console.on_output.append(heard.extend)
        console.garbage(1000)
        clock.run_for(2)
        console.garbage(0)
        clock.run_for(2)
        return bytes(heard)

    assert 1980 <= len(collect(1)) <= 2000
    assert collect(1) == collect(1)
    assert collect(1) != collect(2)


def test_corruption_damages_a_share_of_the_bytes() -> None:
    _, console = listening()
    heard = bytearray()
    console.on_output.append(heard.extend)
    console.corrupt(0.1)
    console.output(bytes(10_000))
    assert 800 < sum(b != 0 for b in heard) < 1200
