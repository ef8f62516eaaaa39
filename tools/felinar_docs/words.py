"""What the words of the wire mean: the vocabularies of fields, and the reasons for which something is refused."""

from __future__ import annotations

# By prefix: where it is used, and of each name the meaning; of an EVENT also what its argument is.
VOCABULARIES: dict[str, tuple[str, dict[str, str]]] = {
    "MODE_": (
        "LAMP_SET and GROUP_LAMP `mode`; EVENT OVERRIDE",
        {
            "AUTO": "the lamp follows its programs, the sun and the light",
            "ON": "lit at 100 %",
            "OFF": "dark",
            "DIM": "lit at `level`",
        },
    ),
    "REASON_": (
        "LAMP_SET and GROUP_LAMP `reason`",
        {
            "OPERATOR": "somebody ordered it",
            "SCHEDULE": "a plan of the host's",
            "MAINTENANCE": "work on the lamp",
            "EMERGENCY": "light is needed at once",
        },
    ),
    "RESULT_": (
        "RESULT `code`",
        {
            "APPLIED": "done; of a configuration: it is going to be tried",
            "REFUSED": "not now, or not by this node",
            "EXPIRED": "there was no time left",
            "UNKNOWN_KEY": "CONFIG: no such key",
            "OUT_OF_RANGE": "CONFIG: the key can't have that value",
            "INVALID": "a configuration that can't be used, or a wrong CRC",
            "MISSING": "CONFIG_PART: more parts are awaited; not the last word on this id",
        },
    ),
    "QUERY_": (
        "QUERY `what`",
        {
            "HELLO": "say HELLO",
            "HEALTH": "say HEALTH",
            "WHOLE": "send the next reports whole, until one of them has been acknowledged",
        },
    ),
    "CONFIG_": (
        "CONFIG `key`",
        {
            "REPORT_S": "period of reports in s, 0 to 86400; 0 reports what has been gathered and then stops",
            "SAFE": "1 enters safe mode, 0 leaves it",
        },
    ),
    "RESET_": (
        "HELLO `reset`; EVENT BOOT",
        {
            "UNKNOWN": "not known",
            "POWER": "power came",
            "BROWNOUT": "the voltage fell",
            "WATCHDOG": "the watchdog was not fed",
            "PANIC": "a crash",
            "UPDATE": "new firmware",
            "SOFT": "asked for by the firmware",
            "DEEPSLEEP": "woke up",
        },
    ),
    "EVENT_": (
        "EVENT `code`",
        {
            "BOOT": "started | RESET_*",
            "CLOCK_SET": "the clock was set | step in s",
            "LAMP": "the lamp was set to another level | level in %",
            "OVERRIDE": "an order began or ended | MODE_*, -1 when it ended",
            "SENSOR_LOST": "a sensor no longer answers | its place in the board file, from 0 on",
            "SENSOR_BACK": "it answers again, or is trusted again | its place",
            "DROPPED": "kept messages were lost | how many",
            "RELAY_FAILURE": "the lamp takes power as if the relay did not switch | power in 0.1 W",
            "LAMP_UNEXPECTED_ON": "the lamp takes power although it is off | power in 0.1 W",
            "CYCLING_FAILURE": "the lamp goes out again and again | cycles",
            "LAMP_FAILURE": "the lamp takes no power although it is on | power in 0.1 W",
            "DIMMING_FAILURE": "the lamp takes another power than its level wants | power in 0.1 W",
            "CLEARED": "a failure is over | its EVENT code",
            "CRASH": 'a task, or the whole node, crashed | how many in a row; a second EVENT, below 0, tells where: -1 - the low 15 bits of the CRC-32 of the last line of the traceback that names a file (`File "…", line …, in …`, without spaces in front), so that crashes in one place are known as such',
            "SAFE_MODE": "safe mode | 1 entered, 0 left",
            "CONFIG_ROLLED_BACK": "a new configuration did not prove itself | low 16 bits of its CRC-32, signed",
            "BAD_CONFIG": "some of the configuration can't be used, and its defaults are | how many values",
            "CONFIG_TRIED": "a new configuration is on trial | low 16 bits of its CRC-32, signed",
            "CONFIG_KEPT": "it has proved itself | low 16 bits of its CRC-32, signed",
            "SENSOR_DOUBT": "a sensor's values are in doubt, over with SENSOR_BACK | its place",
        },
    ),
    "DOUBT_": (
        "REPORT `doubt`, value 1 << number each",
        {
            "LIGHT": "`lux`",
            "PARTICLES": "`pm1`, `pm25`, `pm10`",
            "CO2": "`co2`",
            "GAS": "`voc`, `nox`",
            "CLIMATE": "`temp`, `rh`",
            "PRESSURE": "`p`",
            "SOUND": "`leq`, `lmax`, `l10`, `l50`, `l90`",
            "POWER": "`power`, `energy`",
        },
    ),
}

# The names of schema that are neither a kind of message nor a word of a vocabulary.
OTHERS = {"VERSION", "EPOCH_UNIX", "FAR", "UNDER", "OVER", "TABLE"}

REASONS = {
    "kind": "a kind of message that there is not, or not here",
    "values": "to be written: not as many values as there are fields",
    "type": "to be written: a value of another type",
    "count": "a batch of none, or to be written: of more than 255",
    "order": "a batch to be written: seq not rising, or by more than 256",
    "short": "the bytes end within a value; fewer bytes than the header, the tag, or the layout need; a serial frame without room for its CRC",
    "trailing": "bytes behind the last field",
    "long": "more bytes than a frame may have",
    "range": "a number that its field can't have; to be written: one that its place can't hold",
    "coding": "a body that says the same as a shorter or plainer one: see *The one way to write*",
    "form": "a difference where only a whole body belongs: on a wired line; an EVENT or a BATCH",
    "header": "to be written: a kind, an address or a version that the header can't hold",
    "version": "a sealed frame where a clear one belongs, or the other way round, or a version to come",
    "cobs": "serial: not COBS",
    "crc": "serial: the CRC-32 does not match",
    "address": "a frame for somebody else; a JOIN_REQ of a node without a key",
    "old": "64 or more behind the newest frame, or a counter that there can't be",
    "replay": "heard before",
    "tag": "not authentic, or of another message table",
    "spent": "no counter is left: join anew",
    "storage": "the node: a join counter that the flash did not keep",
    "counter": "a JOIN_ACC for another join",
    "clock": "group frames: the receiver's clock is too uncertain",
    "late": "group frames: the frame's key may be known to others",
    "early": "group frames: the frame's interval has certainly not begun",
    "zone": "GROUP_LAMP: a wrong zone tag",
    "gap": "group frames: a key of a day whose chain was not announced",
    "chain": "group frames: not a key of the chain",
    # Counted, never raised.
    "undisclosed": "counted of held group frames: their key never came, or too many pairs of kind and interval waited",
    "displaced": "counted of group frames: more than four of a kind in an interval",
    "unconfirmed": "counted: an \"on\" that TESLA did not confirm was taken back",
}  # fmt: skip
