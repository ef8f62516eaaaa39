"""The MicroPython end of the tests of evolution: codec and CRC under a table that comes with the question."""

import json
import sys

from felinar_wire import WireError, codec, schema


def tables(kind: int, fields: list) -> dict:
    return {kind: tuple([tuple([tuple(x) if isinstance(x, list) else x for x in field]) for field in fields])}


def answer(name: str, kind: int, fields: list, args: list) -> object:
    table = tables(kind, fields)
    try:
        if name == "crc":
            return schema.checksum(kind, table)
        if name == "encode":  # values, old, lag
            return codec.encode(kind, args[0], args[1], args[2], table).hex()
        return codec.decode(kind, bytes.fromhex(args[0]), args[1], args[2], args[3], table)  # body, old, lag, newer
    except WireError as error:
        return {"refused": error.reason}


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps([answer(*question) for question in json.loads(line)]))
