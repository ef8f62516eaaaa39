"""What the tables of messages don't say: what a message is for, who sends it, and what each field means."""

from __future__ import annotations

from dataclasses import dataclass

from felinar_wire import tesla

UP = "node → host"
DOWN = "host → node"
GROUP = "host → all nodes of a group"
FROM_BRIDGE = "bridge → host"
TO_BRIDGE = "host → bridge"

SESSION = "under the session's keys, with a tag of {tag} bytes; in clear on a wired line"
SEALED = "under the session's keys, with a tag of {tag} bytes; never in clear"
TESLA = "readable by all; a TESLA tag of 8 bytes"
CABLE = "none: it never leaves the cable between bridge and host"


@dataclass(frozen=True)
class Message:
    """Prose of one message; `fields` by name, in the table's order."""

    direction: str
    protection: str
    about: str
    fields: dict[str, str]


# By name of a kind.
MESSAGES = {
    "REPORT": Message(
        UP,
        SESSION,
        "What a lamp post has measured in one period; a *kept* message. It comes whole, against an older report, or several in a BATCH.",
        {
            "time": "end of the period; missing until somebody has set the clock",
            "up": "uptime at the end of the period",
            "lux": "light: logarithmic, see *The scale of light*",
            "pm1": "particles of up to 1 µm",
            "pm25": "particles of up to 2.5 µm",
            "pm10": "particles of up to 10 µm",
            "co2": "carbon dioxide",
            "voc": "index of volatile organic compounds (100 is what is usual here)",
            "nox": "index of nitrogen oxides (1 is what is usual here)",
            "temp": "temperature of the air",
            "rh": "relative humidity",
            "p": "pressure at the station",
            "leq": "equivalent sound level of the period, LAeq",
            "lmax": "highest sound level, Fast, LAmax",
            "l10": "sound level exceeded in 10 % of the period",
            "l50": "sound level exceeded in 50 % of the period",
            "l90": "sound level exceeded in 90 % of the period",
            "relay": "1 when the lamp is switched on",
            "dim": "level that the lamp is set to; 0 when off",
            "power": "power that the lamp takes",
            "energy": "energy that the lamp has taken so far, a counter",
            "mv": "supply voltage of the node",
            "rssi": "strength of the last frame heard from the bridge; missing on a wired line",
            "doubt": "bit DOUBT_* set: values of that group are there, but not to be trusted",
        },
    ),
    "EVENT": Message(
        UP,
        SESSION,
        "Something that happened once; a *kept* message.",
        {
            "time": "when; missing until somebody has set the clock",
            "up": "uptime when it happened",
            "code": "EVENT_*",
            "arg": "its argument, see EVENT_*",
        },
    ),
    "HEALTH": Message(
        UP,
        SESSION,
        "How the node itself is; the answer to QUERY with HEALTH. A number beyond its field's range is cut to it; what a "
        "firmware does not count is missing.",
        {
            "up": "uptime",
            "boot": "number of this boot, from 1 on; after 65535 comes 1",
            "made": "kept messages made since this boot, which is the newest seq",
            "dropped": "kept messages lost since this boot: the outbox was full, or the flash failed",
            "pending": "kept messages in the outbox, of any boot, that the host has not acknowledged",
            "bad_frames": "frames that were dropped since this boot",
            "sensor_errors": "readings that failed since this boot",
            "heap_free": "memory that is free now",
            "blocks_free": "blocks of the outbox without a message that waits",
            "heap_low": "least memory that was free since this boot",
            "drift": "how much slower the node's clock runs than the host's, negative: faster; missing until two TIME an hour or more apart have shown it",
            "erases": "how often each block of the outbox has been erased, ever",
            "switches": "times that the relay has switched, ever",
            "lamp_h": "hours that the lamp has been lit, ever",
            "crashes": "crashes of the whole node in a row before this boot (a boot that lasts ten minutes ends the row), and of its tasks in this one",
            "safe": "1 in safe mode",
            "config": "low 16 bits of the CRC-32 of the JSON of the configuration in force, one on trial included",
            "trial": "1 while the configuration in force is on trial, see CONFIG_PART",
        },
    ),
    "LAMP_SET": Message(
        DOWN,
        SESSION,
        "What one lamp is to do for a time. Answered with RESULT; a repeated id gets the first answer again and does nothing.",
        {
            "id": "number of the command, by which a repeat is known",
            "mode": "MODE_*; AUTO ends an order and leaves the lamp to its programs",
            "level": "level for MODE_DIM; ignored by the others",
            "fade": "time in which the level is reached",
            "ttl": "for how long from now the order holds; 0 is expired, except with MODE_AUTO",
            "reason": "REASON_*",
        },
    ),
    "SCHEDULE": Message(
        DOWN,
        SESSION,
        "One program of the lamp, put in place of the one with the same number: from these minutes of the local day on these levels, on "
        "nights that begin on one of these days between two dates. Steps come in pairs; a pair with a missing half is none, "
        "and a message without steps removes the program. Tried like a configuration, and answered with RESULT.",
        {
            "id": "number of the command",
            "number": "which program",
            "days": "days of the week on which its nights begin, a bit each, Monday the lowest",
            "from": "first date, 100 * month + day",
            "to": "last date, 100 * month + day; before the first one when it spans a new year",
        }
        | {
            name + str(i): text
            for i in range(1, 7)
            for name, text in (
                ("minute", f"step {i}: minute of the local day from which on"),
                ("level", f"step {i}: the level"),
            )
        },
    ),
    "CONFIG": Message(
        DOWN,
        SESSION,
        "One setting that holds until the next boot. Answered with RESULT.",
        {"id": "number of the command", "key": "CONFIG_*", "value": "its value, see CONFIG_*"},
    ),
    "TIME": Message(
        DOWN,
        SESSION,
        "The time, in answer to a HELLO (on a wired line) or a TIME_REQ. The time lies between the first sending of the "
        "question and the arrival of the answer.",
        {
            "nonce": "of the HELLO or TIME_REQ that it answers; another one is ignored",
            "time": "seconds",
            "ms": "and milliseconds",
        },
    ),
    "TIME_REQ": Message(
        UP,
        SESSION,
        "Asks for TIME, every six hours, so that the bound of the clock's error stays small.",
        {"nonce": "drawn at random for each question"},
    ),
    "QUERY": Message(DOWN, SESSION, "Asks for a message.", {"what": "QUERY_*"}),
    "ACK": Message(
        DOWN,
        SESSION,
        "Which kept messages of one boot are durably stored. Sent after the commit, never before.",
        {
            "boot": "the boot that it is about",
            "base": "seq that the lowest bit stands for",
            "bitmap": "message base + i is stored where bit i (value 1 << i) is set; of all others nothing is said",
        },
    ),
    "RESULT": Message(
        UP,
        SESSION,
        "What became of a command.",
        {
            "id": "of the command",
            "code": "RESULT_*",
            "level": "level of the lamp now",
            "relay": "1 when the lamp is switched on now",
        },
    ),
    "HELLO": Message(
        UP,
        SESSION,
        "Who a node is. Said on a wired line at the start, until a TIME answers it, and when QUERY asks for it.",
        {
            "schema": "version of the message table that the node speaks",
            "uid0": "serial number of its chip, the first two bytes",
            "uid1": "the next two",
            "uid2": "the last two",
            "boot": "number of this boot, from 1 on; after 65535 comes 1",
            "major": "version of its firmware",
            "minor": "version of its firmware",
            "patch": "version of its firmware",
            "reset": "RESET_*",
            "clock": "1 when its clock has been set since this boot",
            "nonce": "drawn at random for each HELLO, for the TIME that answers",
            "first": "lowest seq of this boot that waits in the outbox; all below it are stored or dropped",
            "last": "newest seq of this boot; below `first` when none waits",
        },
    ),
    "JOIN_REQ": Message(
        UP,
        "a tag of 8 bytes, CMAC under the node's join key",
        "Begins a session. The same bytes however often it is repeated; see *Joining*.",
        {
            "high": "high half of the join counter; the header has the low half",
            "schema": "version of the message table that the node speaks",
            "boot": "number of this boot",
            "tag": "CMAC, cut to 8 bytes",
        },
    ),
    "JOIN_ACC": Message(
        DOWN,
        "`slot` to `key` under the new downlink key, with a tag of 8 bytes behind them; the first three fields in clear",
        "Ends a join; see *Joining*.",
        {
            "time": "the host's time, s",
            "quarters": "and units of 4 ms",
            "random": "drawn for this answer; these first 7 bytes are the host nonce",
            "slot": "the node's place in the beacon's bits and in the plan of who sends when",
            "slot_map": "version of that plan",
            "key": f"TESLA key of interval max(n - 2, n - n mod {tesla.DAY} - 1), n being the interval of `time`",
        },
    ),
    "BEACON": Message(
        GROUP,
        TESLA,
        "The beat of the air: time, the TESLA key that is due, and which slots' frames are stored.",
        {
            "key": "TESLA key of interval n - 2",
            "slot_map": "version of the plan that the bits refer to",
            "ms": "when the frame went on the air, in ms of the interval",
            "first": "slot of the first bit",
            "bits": "a bit for each slot from `first` on, the highest bit of each byte first: 1 is durably stored; then one for each slot of this superframe: 1 is free. See *Beacons*",
        },
    ),
    "GROUP_LAMP": Message(
        GROUP,
        "readable by all; a zone tag of 8 bytes in its body, and a TESLA tag of 8 bytes behind it",
        'What all lamps of a group are to do: LAMP_SET in whole bytes; not answered. An "on" that has acted at once is only '
        "confirmed when it is verified, see *Fail lit*. Another frame with an id that was verified does nothing.",
        {
            "id": "number of the command, by which a repeat is known",
            "mode": "MODE_*",
            "level": "level for MODE_DIM, %",
            "fade": "time in which the level is reached, s",
            "ttl": "for how long the order holds from when it acts, in units of 10 s; 0 is expired, except with MODE_AUTO",
            "reason": "REASON_*",
            "zone_tag": "CMAC under the zone's key of nonce and all fields before this one, cut to 8 bytes",
        },
    ),
    "KEY_DISCLOSE": Message(
        GROUP,
        TESLA,
        "A TESLA key, and where the chain of the next day begins. Repeated in the last two hours of a day.",
        {
            "key": "TESLA key of interval n - 2",
            "first": "first interval of the next chain, a multiple of 8640",
            "next": "the key before that one's: what it hashes to",
        },
    ),
    "OTA_FRAGMENT": Message(
        GROUP,
        TESLA,
        "A piece of an update, the same for all nodes. Receivers of this version refuse it (`kind`); its layout is reserved.",
        {"update": "number of the update", "index": "which piece", "data": "the piece"},
    ),
    "OTA_PARITY": Message(
        GROUP,
        TESLA,
        "The exclusive-or of some pieces of an update, from which a missing one can be made. Receivers of this version "
        "refuse it (`kind`); its layout is reserved.",
        {"update": "number of the update", "seed": "says which pieces", "data": "their exclusive-or"},
    ),
    "OTA_MANIFEST": Message(
        DOWN,
        SESSION,
        "A part of the manifest of an update: what it is, and the signature (see *Signatures of updates*). Receivers of this version "
        "refuse it (`kind`); its layout is reserved, and what the manifest says is not fixed yet.",
        {
            "update": "number of the update",
            "part": "which part, from 0 on",
            "parts": "how many there are",
            "data": "the part",
        },
    ),
    "OTA_STATUS": Message(
        UP,
        SESSION,
        "How far an update is. Receivers of this version refuse it (`kind`); its layout is reserved.",
        {"update": "number of the update", "state": "how far", "missing": "how many pieces are missing"},
    ),
    "CONFIG_PART": Message(
        DOWN,
        SESSION,
        "A part of a whole configuration (JSON, `docs/architecture.md`). Parts come in order of their offsets, and each is answered with RESULT: "
        "MISSING until all are there; then the configuration is checked as a whole and tried, see *The conversation on a wired line*, which also tells the largest `data`. "
        "A part without data is not taken. Other `total` or `crc`, or another id, begin anew.",
        {
            "id": "number of the command, the same in all parts",
            "offset": "place of `data` in the configuration; beyond what has come so far it is not taken",
            "total": "bytes of the whole configuration; a node has room for 4076",
            "crc": "CRC-32 of the whole configuration",
            "data": "the part",
        },
    ),
    "CHALLENGE": Message(
        DOWN,
        "in clear, on a wired line alone",
        "Asks a node on a wired line to prove that it holds its root key. Answered with PROOF; a node without a key answers nothing.",
        {"nonce": "random, never used twice"},
    ),
    "PROOF": Message(
        UP,
        "in clear, on a wired line alone; the tag is the proof",
        "Proves that the node holds its root key.",
        {
            "nonce": "of the CHALLENGE",
            "tag": "first 8 bytes of AES-CMAC(derive(root key, 'prove', ''), nonce | 6 bytes of the chip's uid | address (16 bits))",
        },
    ),
    "REKEY": Message(
        DOWN,
        SEALED,
        "Another key for a zone or for the node itself. Answered with RESULT.",
        {
            "id": "number of the command",
            "address": "the group whose zone key it is; 0: the node's root key, of which its next join makes its session",
            "key": "the key",
        },
    ),
}

# By number of the type byte.
BRIDGE = {
    0: Message("both", "that of the frame", "A frame of a node on the line, as it is.", {"data": "the frame"}),
    1: Message(
        FROM_BRIDGE,
        CABLE,
        "The bridge has heard a frame on the air.",
        {
            "at": "when it ended, in the bridge's time, µs",
            "rssi": "strength, dBm",
            "snr": "signal to noise, 0.25 dB",
            "sf": "spreading factor",
            "frequency": "Hz",
            "data": "the frame",
        },
    ),
    2: Message(
        TO_BRIDGE,
        CABLE,
        "Asks for a frame to be sent.",
        {
            "id": "number of the request, for TX_DONE",
            "at": "when it is to begin, in the bridge's time, µs",
            "sf": "spreading factor",
            "frequency": "Hz",
            "power": "dBm",
            "data": "the frame",
        },
    ),
    3: Message(
        FROM_BRIDGE,
        CABLE,
        "What became of a TX.",
        {
            "id": "of the TX",
            "result": "0 sent, 1 too late, 2 the duty cycle is spent, 3 the radio failed, 4 the host is gone, 5 no room",
            "at": "when it began, in the bridge's time, µs",
            "airtime": "how long it was on the air, µs",
        },
    ),
    4: Message(
        FROM_BRIDGE,
        CABLE,
        "How many more TX fit into the bridge's queue; sent at its start and whenever one is done with.",
        {"frames": "so many"},
    ),
    5: Message(
        FROM_BRIDGE,
        CABLE,
        "A line for the log.",
        {"level": "0 debug, 1 information, 2 warning, 3 error", "text": "UTF-8"},
    ),
    6: Message(
        FROM_BRIDGE,
        CABLE,
        "The bridge is alive: three seconds after the last one, and in answer to PING.",
        {
            "id": "of the PING, 0 if it is none's answer",
            "up": "uptime, s",
            "at": "the bridge's time, µs",
            "heard": "frames heard since its start",
            "bad": "frames heard with a wrong CRC since its start",
            "sent": "frames sent since its start",
            "refused": "requests refused since its start",
            "dropped": "serial frames dropped since its start",
        },
    ),
    7: Message(
        FROM_BRIDGE,
        CABLE,
        "Who the bridge is: at its start, and in answer to LISTEN.",
        {
            "uid": "number of its chip, zeros behind",
            "major": "firmware version",
            "minor": "firmware version",
            "patch": "firmware version",
            "chip": "radio: 1 SX126x, 2 SX127x",
            "queue": "how many TX fit",
            "low": "lowest frequency, Hz",
            "high": "highest frequency, Hz",
            "dbm": "highest power, dBm",
        },
    ),
    8: Message(TO_BRIDGE, CABLE, "What to hear from now on.", {"sf": "spreading factor", "frequency": "Hz"}),
    9: Message(
        TO_BRIDGE,
        CABLE,
        "The host is there; a bridge that has heard none for ten seconds sends nothing on the air any more.",
        {"id": "number that the answering HEARTBEAT has, not 0"},
    ),
}

_KEY = bytes(range(16))
_TAG = bytes(range(0xA0, 0xA8))

# Values of each message's example, in steps of its fields, by name or type.
EXAMPLES: dict[str | int, tuple[int | str | bytes | None, ...]] = {
    "REPORT": (
        *(91584000, 86400, 299, 42, 51, 91, 445, 76, 1, 78, 856, 10089),
        *(523, 686, 550, 505, 469, 1, 60, 245, 704381, 12049, -100, 0),
    ),
    "EVENT": (91584012, 86412, 3, 60),
    "HEALTH": (86400, 17, 300, 0, 2, 1, 0, 61440, 14, 52000, -38, 210, 4102, 9120, 0, 0, 0xBEEF, 0),
    "LAMP_SET": (4711, 3, 60, 5, 3600, 2),
    "SCHEDULE": (4712, 1, 0b0011111, 101, 1231, 1380, 60, 300, 100, None, None, None, None, None, None, None, None),
    "CONFIG": (4713, 1, 300),
    "TIME": (0xABCDEF, 91584000, 250),
    "TIME_REQ": (0xABCDEF,),
    "QUERY": (1,),
    "ACK": (17, 288, 0b101),
    "RESULT": (4711, 0, 100, 1),
    "HELLO": (1, 0x2462, 0xAB01, 0x0203, 17, 0, 1, 0, 1, 0, 0xABCDEF, 1, 4),
    "JOIN_REQ": (0, 1, 17, _TAG),
    "JOIN_ACC": (91584000, 62, 0xA5C3, 40, 3, _KEY),
    "BEACON": (_KEY, 3, 200, 40, bytes((0b10100000, 0b00000001))),
    "GROUP_LAMP": (9, 1, 100, 0, 60, 3, _TAG),
    "KEY_DISCLOSE": (_KEY, 9167040, _KEY),
    "OTA_FRAGMENT": (3, 12, b"felinar"),
    "OTA_PARITY": (3, 1, b"felinar"),
    "OTA_MANIFEST": (3, 0, 8, b"felinar"),
    "OTA_STATUS": (3, 1, 12),
    "CONFIG_PART": (4714, 0, 15, 0xCC0148E0, b'{"report_s":60}'),
    "REKEY": (4715, 2, _KEY),
    "CHALLENGE": (_KEY,),
    "PROOF": (_KEY, _TAG),
    0: (bytes.fromhex("180005000710"),),
    1: (123456789, -97, 6, 7, 868100000, bytes.fromhex("4000050042")),
    2: (12, 124000000, 7, 869525000, 14, bytes.fromhex("5000050007")),
    3: (12, 0, 124000000, 82176),
    4: (4,),
    5: (1, b"listening"),
    6: (0, 86400, 123456789, 4711, 12, 8640, 0, 0),
    7: (bytes.fromhex("a1b2c3d400010000"), 0, 1, 0, 1, 8, 863000000, 870000000, 22),
    8: (7, 868100000),
    9: (21,),
}
