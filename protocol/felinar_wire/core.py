"""Messages of a frozen layout, whole bytes: joins, groups, updates, long configurations, and what a bridge says.

They are the same for nodes of every version, so that one beacon serves them all; the CRC in their nonce is 1. A lamp
node has these offsets in `join` and `tesla` and does not load this module.
"""

from felinar_wire import schema
from felinar_wire.errors import WireError

CHALLENGE = 0x1A
PROOF = 0x1B
OTA_FRAGMENT = 0x23
OTA_PARITY = 0x24
OTA_MANIFEST = 0x32
OTA_STATUS = 0x33

# Field names, each with its code: B, H, I are unsigned numbers of 1, 2, 4 bytes, big-endian, b, h, i signed ones; a number
# is that many bytes as they are, * all that remain.
LAYOUT = {
    schema.JOIN_REQ: "high H schema H boot H tag 8",
    schema.JOIN_ACC: "time I quarters B random H slot H slot_map B key 16",
    schema.BEACON: "key 16 slot_map B ms H first H bits *",
    schema.GROUP_LAMP: "id H mode B level B fade B ttl H reason B zone_tag 8",
    schema.KEY_DISCLOSE: "key 16 first I next 16",
    OTA_FRAGMENT: "update H index H data *",
    OTA_PARITY: "update H seed H data *",
    OTA_MANIFEST: "update H part B parts B data *",
    OTA_STATUS: "update H state B missing H",
    schema.CONFIG_PART: "id H offset H total H crc I data *",
    schema.REKEY: "id H address H key 16",
    CHALLENGE: "nonce 16",
    PROOF: "nonce 16 tag 8",
}

# The first byte of a serial frame says what the rest is; 0 is a node's own frame.
FRAME = 0
RX = 1  # bridge: heard; `at` is the bridge's time at the end of the frame
TX = 2  # host: transmit `data` at that time of the bridge
TX_DONE = 3  # bridge: done with it; result 0 sent, 1 too late, 2 duty cycle, 3 radio, 4 host gone, 5 no room
CREDIT = 4  # bridge: so many more TX fit
LOG = 5  # bridge
HEARTBEAT = 6  # bridge: three seconds after the last one, and in answer to PING, then with its id
BRIDGE_HELLO = 7  # bridge: at its start, and in answer to LISTEN
LISTEN = 8  # host: hear this from now on
PING = 9  # host: the bridge falls silent ten seconds after the last one
BRIDGE = {
    FRAME: "data *",
    RX: "at I rssi h snr b sf B frequency I data *",
    TX: "id H at I sf B frequency I power b data *",
    TX_DONE: "id H result B at I airtime I",
    CREDIT: "frames B",
    LOG: "level B text *",
    HEARTBEAT: "id H up I at I heard I bad I sent I refused I dropped I",
    BRIDGE_HELLO: "uid 8 major B minor B patch B chip B queue B low I high I dbm b",
    LISTEN: "sf B frequency I",
    PING: "id H",
}

_SIZES = {"b": 1, "h": 2, "i": 4, "*": -1}


def fields(layout: str) -> "list[tuple[str, str]]":
    """(name, code) of each field."""
    words = layout.split()
    return [(words[i], words[i + 1]) for i in range(0, len(words), 2)]


def size(code: str) -> int:
    """Bytes of a field; -1 for all that remain."""
    return _SIZES.get(code.lower()) or int(code)


def encode(layout: str, values: "list[int | bytes]") -> bytes:
    """The bytes of a message. Raises WireError: "values" (wrong count), "type", "range" (of a number or a length)."""
    table = fields(layout)
    if len(values) != len(table):
        raise WireError("values")
    out = b""
    for i in range(len(table)):
        code = table[i][1]
        value = values[i]
        n = size(code)
        if code.isalpha():
            if type(value) is not int:  # nor a bool
                raise WireError("type")
            half = 1 << 8 * n - 1 if code.islower() else 0
            if not 0 <= value + half < 1 << 8 * n:
                raise WireError("range")
            value = (value & (1 << 8 * n) - 1).to_bytes(n, "big")
        elif not isinstance(value, bytes):
            raise WireError("type")
        elif n not in (-1, len(value)):
            raise WireError("range")
        out += value
    return out


def decode(layout: str, data: bytes) -> "list[int | bytes]":
    """The values of a message from its bytes. Raises WireError: "short", "trailing"."""
    values: "list[int | bytes]" = []
    at = 0
    for _, code in fields(layout):
        n = size(code)
        end = len(data) if n < 0 else at + n
        if end > len(data):
            raise WireError("short")
        piece = data[at:end]
        at = end
        if not code.isalpha():
            values.append(piece)
            continue
        value = int.from_bytes(piece, "big")
        values.append(value - (1 << 8 * n) if code.islower() and piece[0] > 127 else value)
    if at < len(data):
        raise WireError("trailing")
    return values
