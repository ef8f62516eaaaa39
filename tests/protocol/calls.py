"""One call into felinar_wire from plain data, the same under CPython and MicroPython; bytes travel as hex."""

from felinar_wire import WireError, batch, bits, codec, core, frame, kept, scale, schema, serial

try:
    from felinar import wire_batch
except ImportError:
    import wire_batch  # MicroPython has the folder, not the package, on its path


def _hex(data: bytes) -> str:
    return data.hex()


def _appended(kind: int, fields: list) -> dict:
    """The table as a later schema version may have it: fields appended to a kind of message."""
    table = schema.TABLE.get(kind)
    return {kind: tuple(table) + tuple(fields)} if table else {}


def _call(name: str, args: list) -> object:
    if name == "encode":  # kind, values, old or None, lag
        return _hex(codec.encode(args[0], args[1], args[2], args[3]))
    if name == "decode":  # kind, body, old or None, lag
        return codec.decode(args[0], bytes.fromhex(args[1]), args[2], args[3])
    if name == "encode appended":  # kind, appended fields, values, old or None, lag
        return _hex(codec.encode(args[0], args[2], args[3], args[4], _appended(args[0], args[1])))
    if name == "decode appended":  # kind, appended fields, body, old or None, lag, whether the sender may know more
        body = bytes.fromhex(args[2])
        return codec.decode(args[0], body, args[3], args[4], args[5], _appended(args[0], args[1]))
    if name == "batch":  # [seq, values] rows
        return _hex(batch.encode([(row[0], row[1]) for row in args[0]]))
    if name == "unbatch":  # body, first seq
        return [list(row) for row in wire_batch.decode(bytes.fromhex(args[0]), args[1])]
    if name == "pack":  # kind, address, counter, payload, version
        return _hex(frame.pack(args[0], args[1], args[2], bytes.fromhex(args[3]), args[4]))
    if name == "unpack":  # frame, version
        kind, address, counter, payload = frame.unpack(bytes.fromhex(args[0]), args[1])
        return [kind, address, counter, _hex(payload)]
    if name == "keep":  # boot, seq, session boot, body, expected seq, lag
        return _hex(kept.pack(args[0], args[1], args[2], bytes.fromhex(args[3]), args[4], args[5]))
    if name == "unkeep":  # payload, session boot, expected seq
        boot, seq, lag, body = kept.unpack_lag(bytes.fromhex(args[0]), args[1], args[2])
        return [boot, seq, lag, _hex(body)]
    if name == "unkeep whole":  # payload, session boot, expected seq
        boot, seq, body = kept.unpack(bytes.fromhex(args[0]), args[1], args[2])
        return [boot, seq, _hex(body)]
    if name == "line":  # data
        return _hex(serial.encode(bytes.fromhex(args[0])))
    if name == "deframe":  # limit, chunks
        deframer = serial.Deframer(args[0])
        found = []
        for chunk in args[1]:
            for data in deframer.feed(bytes.fromhex(chunk)):
                found.append(_hex(data))
        return [found, deframer.bad]
    if name == "number":  # value, Rice parameter, span
        codes: list = []
        bits.put_number(codes, args[0], args[1], args[2])
        return _hex(bits.pack(codes))
    if name == "lux_step":  # millilux
        return scale.lux_step(args[0])
    if name == "millilux":  # step
        return scale.millilux(args[0])
    if name == "crc":  # kind
        return schema.crc(args[0])
    if name == "core":  # layout, values, those that are bytes as hex
        given = [bytes.fromhex(value) if isinstance(value, str) else value for value in args[1]]
        return _hex(core.encode(args[0], given))
    if name == "uncore":  # layout, bytes
        found = core.decode(args[0], bytes.fromhex(args[1]))
        return [_hex(value) if isinstance(value, bytes) else value for value in found]
    if name == "expected":  # counter, first seq
        return kept.expected(args[0], args[1])
    raise ValueError(name)


def call(name: str, args: list) -> dict:
    """{"result": ...} of a call, or {"refused": reason} where it raises WireError; any other exception is a bug."""
    try:
        return {"result": _call(name, args)}
    except WireError as error:
        return {"refused": error.reason}
