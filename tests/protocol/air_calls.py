"""One call into felinar_air from plain data, the same under CPython and MicroPython; bytes travel as hex."""

from felinar_air import duty, modem, plan
from felinar_air.host import Slots
from felinar_air.node import Access
from felinar_wire import tesla

MAP = 7  # version of the slot map of who is asked for a turn
AGO = 20  # intervals that an owner was heard before
UNMEASURED = 86400000  # error of a time that no beacon has told


def body(slot_map: int, ms: int, first: int, bits: bytes) -> bytes:
    """A beacon's, under a key of no meaning."""
    return bytes(16) + bytes((slot_map,)) + ms.to_bytes(2, "big") + first.to_bytes(2, "big") + bits


def member(frame, slot: int, slot_map: int, n: int) -> Access:  # type: ignore[no-untyped-def]
    """A node that has joined in interval n; its clock is the host's."""
    node = Access(5, bytes, {}, (frame.sf,))
    began = n * plan.INTERVAL + frame.first
    node.heard(frame.bridge, n << 8, body(slot_map, frame.first, 0, bytes(20)), began)
    node.joined(slot, slot_map, n, began + 1000)
    return node


def _call(name: str, args: list) -> object:
    if name == "airtime":  # SF, size
        return plan.airtime(args[0], args[1])
    if name == "sub-band":  # kHz
        return plan.band(args[0])
    if name == "ledger":  # share in 1/1000, [time, airtime] in ms
        ledger = plan.Ledger(args[0])
        return [ledger.take(now, ms) for now, ms in args[1]]
    if name == "bridge ledger":  # [Hz, airtime in us, uptime in s]
        spent = duty.Duty()
        return [spent.take(hz, us, up) for hz, us, up in args[0]]
    if name == "after":  # two times of a bridge
        return modem.after(args[0], args[1])
    if name == "follow":  # seconds that pass, [from s, to s, SF, bridge, dBm] of bridges with a beacon each 10 s
        node = Access(5, bytes, {})
        for t in range(args[0] + 1):
            for begin, end, sf, bridge, rssi in args[1]:
                if begin <= t < end and (t - begin) % 10 == 0 and sf == node.frame.sf:
                    data = body(MAP, node.frame.first, 0, bytes(20))
                    node.heard(bridge, t // 10 << 8, data, t * 1000 - 500, rssi, False)
            node.step(t * 1000)
        return [node.frame.sf, node.frame.bridge if node.timed else -1]
    frame = plan.Superframe(args[0], args[1])
    if name == "crowd":  # SF, bridge, JOIN_ACCs for others
        for k in range(1, 1000):
            node = Access(5, lambda n, k=k: k.to_bytes(n, "big"), {}, (frame.sf,))
            data = body(MAP, frame.first, 0, bytes(20))
            node.heard(frame.bridge, 1 << 8, data, plan.INTERVAL + frame.first)
            node.crowd = args[2]
            if node.join(plan.INTERVAL + frame.first + frame.beacon_ms):
                return k
    if name == "superframe":  # SF, bridge
        lengths = [frame.uplink, frame.slots, frame.limit, frame.slot_ms, frame.beacon_ms]
        lengths.extend((frame.phase, frame.first, frame.second, frame.begin, frame.end))
        return lengths
    if name == "windows":  # SF, bridge, bits of the positions that are free
        return [list(window) for window in frame.windows(args[2])]
    if name == "slot":  # SF, bridge, slot, interval
        n = args[3] + (args[2] // frame.slots - args[3]) % plan.CYCLE
        return [n, n * plan.INTERVAL + frame.start(args[2] % frame.slots)]
    slots = Slots(frame)
    if name == "beacon":  # SF, bridge, interval, [interval, slot] that are stored, slots of the interval that are taken
        n = args[2]
        for slot in [one for _, one in args[3]] + args[4]:
            slots.of[slot + 1] = slot
            slots.owner[slot] = slot + 1
            slots.heard((n - AGO) * plan.INTERVAL, slot + 1)
        for m, slot in args[3]:
            at = m * plan.INTERVAL + frame.start(slot % frame.slots) + plan.GUARD // 2
            if not slots.stored(at, slot + 1):
                raise ValueError("slot")
        first, bits = slots.beacon(n)
        return [first, bits.hex()]
    if name == "interval":  # SF, bridge, slot or -1, time at which a frame began
        if args[2] >= 0:
            slots.of[5] = args[2]
        return slots.interval(args[3], 5)
    if name == "bit":  # SF, bridge, body of a verified beacon, slot map, slot
        slot = args[4]
        data = bytes.fromhex(args[2])
        if slot < (data[19] << 8 | data[20]):
            slot += plan.CYCLE * frame.slots
        return tesla.acknowledged(data, args[3], slot)
    if name == "free":  # SF, bridge, body of a beacon
        return Access(5, bytes, {}, (frame.sf,))._open(bytes.fromhex(args[2]))
    if name == "proves":  # SF, bridge, slot, slot map, interval in which the node sent, that of the beacon, its body
        _, bridge, slot, slot_map, sent, n, data = args
        node = member(frame, slot, slot_map, sent - 1)
        node.sent(sent, "all")
        data = bytes.fromhex(data)
        node.heard(bridge, n << 8, data, n * plan.INTERVAL + (data[17] << 8 | data[18]))
        found = node.verified(bridge, n << 8, data)
        return "stored" if found == "all" else "void" if node.slot < 0 else "nothing"
    if name == "turn":  # SF, bridge, slot, interval of the only beacon that was measured, its bits, now
        _, bridge, slot, n, bits, now = args
        node = member(frame, slot, MAP, n - 1)
        data = body(MAP, frame.first, (n - plan.ACKED) % plan.CYCLE * frame.slots, bytes.fromhex(bits))
        node.heard(bridge, n << 8, data, n * plan.INTERVAL + frame.first)
        node.verified(bridge, n << 8, data)
        return list(node.turn(now))
    if name == "offset":  # SF, bridge, [interval of a verified beacon, how late it was heard, each time], interval
        _, bridge, beacons, n = args
        data = body(MAP, frame.first, 0, bytes(20))
        node = member(frame, 0, MAP, beacons[0][0] - 1)
        for i, (m, heard) in enumerate(beacons):
            counter = m << 8 | i & 255
            for off in heard:
                node.heard(bridge, counter, data, m * plan.INTERVAL + frame.first + off)
            node.verified(bridge, counter, data)
        off = node._offset(n)
        error = node.error(n * plan.INTERVAL + off + plan.INTERVAL // 2)
        return None if error == UNMEASURED else [off, error]
    raise KeyError(name)


def call(name: str, args: list) -> dict:
    """{"result": ...} of a call, or {"refused": reason} where it raises ValueError; any other exception is a bug."""
    try:
        return {"result": _call(name, args)}
    except ValueError as error:
        return {"refused": str(error)}
