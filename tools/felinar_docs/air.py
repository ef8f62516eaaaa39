"""The tables of the page's section on the air, out of the plan, and its example of a beacon."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from itertools import groupby

from felinar.air import orders
from felinar_air import host, node, plan
from felinar_air.plan import BANDS, CYCLE, Superframe, airtime
from felinar_wire import core, schema, tesla

from felinar_docs import DocsError, constants, messages

FACTORS = range(7, 11)
_SIZES = (5, 19, 22, 40, 60, 70, 90, 120, 246, 255)
_BRIDGE = 3
_SF = 9
_N = 305280 * CYCLE + 1
_MAP = 3
_STORED = ((_N - 2, 4), (_N - 2, 16), (_N - 1, 0), (_N - 1, 2))
_TAKEN = (0, 2, 4)


def bands() -> Iterator[str]:
    """The sub-bands and what they are used for."""
    uplinks = sorted({Superframe(7, bridge).uplink for bridge in range(plan.BRIDGES)})
    used = {plan.band(plan.DOWNLINK): "the host to nodes: " + _mhz(plan.DOWNLINK)}
    for khz in uplinks:
        place = plan.band(khz)
        used[place] = used[place] + ", " + _mhz(khz) if place in used else "nodes to the host: " + _mhz(khz)
    yield from messages.head("sub-band, MHz", "share of an hour", "that is", "most radiated power", "used for")
    for i, (low, high, share, dbm) in enumerate(BANDS):
        yield messages.row(
            f"{low / 1000:g} to {high / 1000:g}", f"{share / 10:g} %", f"{share * 3600 / 1000:g} s", f"{dbm} dBm", used.get(i, "")
        )  # fmt: skip


def _mhz(khz: int) -> str:
    return f"{khz / 1000:g}"


def bridges() -> Iterator[str]:
    """Channel and phase of each bridge."""
    yield from messages.head("bridge", "uplink, MHz", "phase, ms", "address of its beacons")
    for bridge in range(plan.BRIDGES):
        frame = Superframe(7, bridge)
        yield messages.row(bridge, _mhz(frame.uplink), frame.phase, f"0x{plan.BEACONS + bridge:04X}")


def airtimes() -> Iterator[str]:
    """Airtime by spreading factor and size."""
    yield from messages.head("bytes", *(f"SF{sf}, µs" for sf in FACTORS))
    for size in _SIZES:
        yield messages.row(size, *(airtime(sf, size) for sf in FACTORS))


def superframes() -> Iterator[str]:
    """The times of a superframe by spreading factor."""
    frames = [Superframe(sf, 0) for sf in FACTORS]
    if any(Superframe(frame.sf, 3).end - frame.end != Superframe(7, 3).phase for frame in frames):
        raise DocsError("A superframe's times don't move with its phase.")
    yield from messages.head("", *(f"SF{sf}" for sf in FACTORS))
    yield messages.row("*slots* of a superframe", *(frame.slots for frame in frames))
    yield messages.row("slots of a cycle", *(frame.slots * CYCLE for frame in frames))
    yield messages.row("*limit*: most bytes of a slot's frame", *(frame.limit for frame in frames))
    yield messages.row("*slot_ms*", *(frame.slot_ms for frame in frames))
    yield messages.row("bytes of a beacon", *(34 + ((plan.ACKED + 1) * frame.slots + 7) // 8 for frame in frames))
    yield messages.row("*beacon_ms*", *(frame.beacon_ms for frame in frames))
    yield messages.row("*first*", *(frame.first for frame in frames))
    yield messages.row("*second*", *(frame.second or "none" for frame in frames))
    yield messages.row("*begin*", *(frame.begin for frame in frames))
    yield messages.row("*end*", *(frame.end for frame in frames))
    for i, name in enumerate(("contention, before the slots", "contention, behind them")):
        yield messages.row(name, *("{} to {}".format(*frame.windows(0)[i]) for frame in frames))


def example() -> Iterator[str]:
    """A beacon's body taken apart."""
    frame = Superframe(_SF, _BRIDGE)
    slots = host.Slots(frame, _MAP)
    for superframe, position in (*_STORED, *((_N, position) for position in _TAKEN)):
        slot = superframe % CYCLE * frame.slots + position
        slots.owner[slot] = slots.of[slot] = slot + 1
        slots.of[slot + 1] = slot
        slots.heard(superframe * plan.INTERVAL, slot + 1)
    for superframe, position in _STORED:
        slot = superframe % CYCLE * frame.slots + position
        if not slots.stored(superframe * plan.INTERVAL + frame.start(position) + plan.GUARD // 2, slot + 1):
            raise DocsError("A slot of the example is not its owner's.")
    first, bits = slots.beacon(_N)
    body = core.encode(core.LAYOUT[schema.BEACON], [bytes(range(16)), _MAP, frame.first, first, bits])
    count = (plan.ACKED + 1) * frame.slots
    text = "".join(f"{byte:08b}" for byte in bits)
    groups = [text[i : i + frame.slots] for i in range(0, count, frame.slots)]
    yield (
        f"An example: bridge {_BRIDGE} at SF{_SF}, interval n = {_N}, so n mod {CYCLE} = {_N % CYCLE}, slot map {_MAP}, the first beacon, "
        f"`ms` = {frame.first}, `first` = (n - {plan.ACKED}) mod {CYCLE} * {frame.slots} = {first}. The body, its key `{body[:16].hex()}`, is"
    )
    yield ""
    yield f"    {body[:16].hex()} {body[16:17].hex()} {body[17:19].hex()} {body[19:21].hex()} {body[21:].hex()}"
    yield ""
    yield from messages.head("bits", "are", "say")
    for i in range(plan.ACKED):
        superframe = _N - plan.ACKED + i
        base = superframe % CYCLE * frame.slots
        told = []
        for position in range(frame.slots):
            slot = base + position
            number = slot if slot >= first else slot + CYCLE * frame.slots
            bit = tesla.acknowledged(body, _MAP, number)
            if bit != int(groups[i][position]):
                raise DocsError("The example's bits don't say what they should.")
            if bit:
                told.append(
                    f"slot {slot}" + (f" (bit {number} - {first} = {number - first})" if number != slot else "")
                )
        yield messages.row(
            f"`{groups[i]}`", f"slots {base} to {base + frame.slots - 1}, superframe of interval n - {plan.ACKED - i}",
            "stored: " + ", ".join(told),
        )  # fmt: skip
    taken = [str(_N % CYCLE * frame.slots + p) for p in range(frame.slots) if groups[-1][p] == "0"]
    yield messages.row(f"`{groups[-1]}`", "the slots of interval n", "not free: " + ", ".join(taken))
    yield messages.row(f"`{text[count:]}`", "filling", "")


def blocks() -> dict[str, Callable[[], str]]:
    """What fills the places of air.in.md."""

    def of(name: str, divisor: int = 1) -> Callable[[], str]:
        return lambda: constants.value(name, divisor)

    return {
        "bands": lambda: "\n".join(bands()),
        "bridges": lambda: "\n".join(bridges()),
        "airtimes": lambda: "\n".join(airtimes()),
        "superframes": lambda: "\n".join(superframes()),
        "beacon_example": lambda: "\n".join(example()),
        "beacon_lead": lambda: str(plan.LEAD - 20),
        "last_bridge": lambda: str(plan.BRIDGES - 1),
        "beacons": lambda: f"{plan.BEACONS:04X}",
        "groups": lambda: str(plan.ACKED + 1),
        "half_guard": lambda: str(plan.GUARD // 2),
        "half_interval": lambda: str(plan.INTERVAL // 2),
        "interval_s": of("plan.INTERVAL", 1000),
        "cycle_s": lambda: str(plan.CYCLE * plan.INTERVAL // 1000),
        "margin": lambda: f"{host.MARGIN / 10:g}",
        "limits": lambda: ", ".join(f"{limit / 10:g}" for limit in host.LIMITS),
        "missed": lambda: str(host._MISSED + 1),
        "cut": of("host._CUT"),
        "patience_s": of("host._PATIENCE", 1000),
        "reserve_s": of("host._RESERVE", 1000),
        "quiet_s": of("node._QUIET", 1000),
        "silent_s": of("node._SILENT", 1000),
        "fresh_s": of("node._FRESH", 1000),
        "first_alarm": lambda: _event("radio_link._FIRST"),
        "last_alarm": lambda: _event("radio_link._LAST"),
        "spread": lambda: str(node._SPREAD - 1),
        "factors": lambda: ", ".join(map(str, inspect.signature(node.Access).parameters["factors"].default)),
        "event_s": of("radio_link._EVENT_MS", 1000),
        "event_most_s": of("radio_link._EVENT_MOST_MS", 1000),
        "time_h": of("radio_link._TIME_MS", 3600_000),
        "time_again_s": of("radio_link._TIME_AGAIN_MS", 1000),
        "unsure_s": of("radio_link._UNSURE_MS", 1000),
        "early_s": of("broadcast._EARLY", 1000),
        "group_s": of("orders.GROUP_MS", 1000),
        "group_repeats": lambda: ", ".join(map(str, orders.GROUP_REPEATS)),
        "repeats": _repeats,
        "repeat_last": lambda: f"{orders.REPEATS[-1] // 1000} s",
        "lead_ms": of("modem._LEAD", 1000),
        "late_ms": of("modem._LATE", 1000),
        "overdue_ms": of("modem._OVERDUE", 1000),
        "host_s": of("modem._HOST_MS", 1000),
        "beat_s": of("modem._BEAT_MS", 1000),
        "overdue_s": lambda: f"{float(constants.value('cable._OVERDUE_S')):g}",
        "ping_s": lambda: f"{float(constants.value('cable.PING_S')):g}",
        "dead_s": lambda: f"{float(constants.value('cable.DEAD_S')):g}",
    }


def _event(constant: str) -> str:
    code = int(constants.value(constant))
    name = next(name for name, value in vars(schema).items() if name.startswith("EVENT_") and value == code)
    return f"{code} ({name.removeprefix('EVENT_')})"


def _repeats() -> str:
    """A command's pauses but the last one, in words."""
    told = []
    for gap, same in groupby(orders.REPEATS[:-1]):
        times = len(list(same))
        told.append((f"{times} times " if times > 1 else "") + (f"{gap // 1000} s" if gap % 1000 == 0 else f"{gap} ms"))
    return ", ".join(told)
