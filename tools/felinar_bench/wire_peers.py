"""The formats that felinar_wire is measured against, each as its users would write a lamp's report.

All of them get the report without node address, sequence number and authentication, and the frame of felinar_wire
(header 5, tag 4) around it, so that only the body differs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import cbor2
import msgpack
from cayennelpp import LppFrame
from felinar_wire import scale, schema
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from felinar_bench.corpus import Report

FIELDS = schema.fields(schema.REPORT)
NAMES = [field[0] for field in FIELDS]
# SenML's own unit names (RFC 8428, section 12.1) where there is one.
UNITS = {"lux": "lx", "temp": "Cel", "rh": "%RH", "p": "hPa", "power": "W", "energy": "Wh", "mv": "V", "rssi": "dBm"}
UNITS |= dict.fromkeys(("leq", "lmax", "l10", "l50", "l90"), "dB") | {"up": "s", "dim": "%", "co2": "ppm"}
UNITS |= dict.fromkeys(("pm1", "pm25", "pm10"), "ug/m3")


def physical(report: Report) -> dict[str, float | int]:
    """Values in units of the table, as short as their resolution allows."""
    out: dict[str, float | int] = {}
    for (name, _, numerator, denominator, *_), steps in zip(FIELDS, report, strict=True):
        assert isinstance(steps, int), "the corpus has no gaps"
        if numerator == 0:
            out[name] = round(scale.millilux(steps) / 1000, 2)
        else:
            out[name] = steps * numerator if denominator == 1 else round(steps * numerator / denominator, 1)
    return out


def json_object(reports: Sequence[Report]) -> bytes:
    """An object a report, names and physical values, no blanks; several in an array."""
    objects = [physical(report) for report in reports]
    return json.dumps(objects if len(objects) > 1 else objects[0], separators=(",", ":")).encode()


def _senml(reports: Sequence[Report], labels: Sequence[Any], exact: Callable[[float], Any]) -> list[dict[Any, Any]]:
    # Labels: base time, name, unit, value, time (RFC 8428, table 4).
    base, name, unit, value, when = labels
    records: list[dict[Any, Any]] = []
    start = reports[0][0]
    for report in reports:
        values = physical(report)
        time = values.pop("time")
        assert isinstance(start, int)
        for key, one in values.items():
            record = {name: key, value: exact(one)} | ({unit: UNITS[key]} if key in UNITS else {})
            if not records:
                record[base] = schema.EPOCH_UNIX + start
            elif time != start:
                record[when] = time - start
            records.append(record)
    return records


def senml_json(reports: Sequence[Report]) -> bytes:
    """SenML in JSON with units, base time once (RFC 8428)."""
    return json.dumps(_senml(reports, ("bt", "n", "u", "v", "t"), lambda one: one), separators=(",", ":")).encode()


def senml_cbor(reports: Sequence[Report]) -> bytes:
    """SenML in CBOR with its integer labels and units; whole numbers as integers, others in the shortest exact float32."""
    records = _senml(reports, (-3, 0, 1, 2, 6), lambda one: one if isinstance(one, int) else _Float32(one))
    return cbor2.dumps(records, default=lambda encoder, one: encoder.write(b"\xfa" + one.bytes))


class _Float32:
    def __init__(self, value: float) -> None:
        import struct

        self.bytes = struct.pack(">f", value)


def message_pack(reports: Sequence[Report]) -> bytes:
    """MessagePack: an array of scaled integers a report, no names."""
    return bytes(msgpack.packb(reports if len(reports) > 1 else reports[0]))


def _protobuf() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="lamp.proto", package="lamp", syntax="proto3")
    report = file.message_type.add(name="Report")
    kind = descriptor_pb2.FieldDescriptorProto
    for number, field in enumerate(FIELDS, 1):
        signed = field[4] < 0
        report.field.add(
            name=field[0],
            number=number,
            label=kind.LABEL_OPTIONAL,
            type=kind.TYPE_SINT32 if signed else kind.TYPE_UINT32,
        )
    batch = file.message_type.add(name="Batch")
    batch.field.add(
        name="reports", number=1, label=kind.LABEL_REPEATED, type=kind.TYPE_MESSAGE, type_name=".lamp.Report"
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    classes = message_factory.GetMessageClassesForFiles(["lamp.proto"], pool)
    return classes["lamp.Report"], classes["lamp.Batch"]


_REPORT, _BATCH = _protobuf()


def protobuf(reports: Sequence[Report]) -> bytes:
    """Protocol Buffers with a schema of its own: a message of 23 scaled integers, several in a repeated field."""
    messages = [_REPORT(**dict(zip(NAMES, report, strict=True))) for report in reports]
    message = _BATCH(reports=messages) if len(messages) > 1 else messages[0]
    return bytes(message.SerializeToString())


def cayenne_lpp(reports: Sequence[Report]) -> bytes:
    """Cayenne LPP, one channel a value in the type that fits it; it has no way to say several but one after the other."""
    out = b""
    for report in reports:
        values = physical(report)
        frame = LppFrame()
        frame.add_unix_time(0, int(values["time"]) + schema.EPOCH_UNIX)
        frame.add_generic(1, int(values["up"]))
        frame.add_luminosity(2, min(65535, int(values["lux"])))
        frame.add_concentration(3, int(values["co2"]))
        for channel, name in enumerate(("pm1", "pm25", "pm10", "leq", "lmax", "l10", "l50", "l90", "voc", "nox"), 4):
            frame.add_analog_input(channel, values[name])
        frame.add_temperature(14, values["temp"])
        frame.add_humidity(15, values["rh"])
        frame.add_pressure(16, values["p"])
        frame.add_digital_input(17, int(values["relay"]))
        frame.add_percentage(18, int(values["dim"]))
        frame.add_analog_input(19, values["power"])
        frame.add_energy(20, values["energy"] / 1000)
        frame.add_voltage(21, values["mv"] / 1000)
        frame.add_analog_input(22, values["rssi"])
        out += bytes(frame)
    return out


PEERS: dict[str, Callable[[Sequence[Report]], bytes]] = {
    "json": json_object,
    "senml_json": senml_json,
    "senml_cbor": senml_cbor,
    "messagepack": message_pack,
    "protobuf": protobuf,
    "cayenne_lpp": cayenne_lpp,
}
