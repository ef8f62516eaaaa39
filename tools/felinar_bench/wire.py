"""Bytes on the air of a report in each form, against the entropy floor and against other formats, on one corpus."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from felinar_build import app as build
from felinar_wire import batch, codec, frame, kept, schema
from felinar_wire.session import Session

from felinar_bench import corpus
from felinar_bench.figures import Figure
from felinar_bench.wire_peers import PEERS

TITLE = "bytes on the air with header and tag"
BOOT = 7
TAG = frame.tag_length(schema.REPORT)
PACKAGE = Path(codec.__file__).parent
BOARD = "sim"
ARCH = "xtensawin"
FOR_A_MOMENT = "felinar_wire/lms.py"  # loaded while an update's signature is checked, and let go of


def session() -> Session:
    """A node's end of a session that has just begun."""
    return Session(1, bytes(16), bytes(range(16)), schema.crc, {})


def send(end: Session, kind: int, seq: int, body: bytes, lag: int = 0) -> bytes:
    """The sealed frame of a kept message; the counter follows the reports, four counts each, as `kept.expected` has it."""
    end.sent = max(end.sent, 4 * seq - 1)
    return end.seal(kind, kept.pack(BOOT, seq, BOOT, body, kept.expected(end.sent + 1), lag))


def whole(nodes: Sequence[Sequence[corpus.Report]]) -> list[int]:
    sizes = []
    for reports in nodes:
        end = session()
        for seq, values in enumerate(reports):
            sizes.append(len(send(end, schema.REPORT, seq, codec.encode(schema.REPORT, values))))
    return sizes


def differential(nodes: Sequence[Sequence[corpus.Report]], lag: int) -> list[int]:
    sizes = []
    for reports in nodes:
        end = session()
        for seq in range(lag, len(reports)):
            body = codec.encode(schema.REPORT, reports[seq], reports[seq - lag], lag)
            sizes.append(len(send(end, schema.REPORT, seq, body, lag)))
    return sizes


def batches(nodes: Sequence[Sequence[corpus.Report]], count: int) -> list[int]:
    sizes = []
    for reports in nodes:
        end = session()
        for start in range(0, len(reports) - count + 1, count):
            rows = [(seq, reports[seq]) for seq in range(start, start + count)]
            sizes.append(len(send(end, schema.BATCH, start, batch.encode(rows))))
    return sizes


def floor(nodes: Sequence[Sequence[corpus.Report]]) -> float:
    """Bytes a report that no coding of the values by linear prediction can go below on this corpus.

    Each field is predicted by least squares from the two reports before it and from the fields in front of it in the
    same report; counted is the order-0 entropy of the rounded differences. No identity, no header, no tag.
    """
    stacked = [np.array(reports, dtype=float) for reports in nodes]
    now = np.concatenate([rows[2:] for rows in stacked])
    before = np.concatenate([np.hstack([rows[1:-1], rows[:-2]]) for rows in stacked])
    center = before.mean(axis=0)
    bits = 0.0
    for i in range(now.shape[1]):
        known = np.hstack([before - center, now[:, :i] - now[:, :i].mean(axis=0), np.ones((len(now), 1))])
        target = now[:, i] - before[:, i]
        known /= np.maximum(np.abs(known).max(axis=0), 1e-9)
        weights, *_ = np.linalg.lstsq(known, target, rcond=1e-12)
        _, counts = np.unique(np.rint(target - known @ weights), return_counts=True)
        share = counts / counts.sum()
        bits -= float((share * np.log2(share)).sum())
    return bits / 8


def package_bytes() -> dict[str, int]:
    """Size of each module of felinar_wire, compiled as felinar_build compiles it."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "module.mpy"
        for path in sorted(PACKAGE.glob("*.py")):
            place = f"felinar_wire/{path.name}"
            build.compile_file(path, out, ARCH, place)
            found[place] = out.stat().st_size
    return found


def figures() -> Iterator[Figure]:
    nodes = corpus.nodes()

    def spread(sizes: Sequence[int]) -> str:
        return f"p95 {sorted(sizes)[int(len(sizes) * 0.95)]}, max {max(sizes)}, {len(sizes)} frames"

    lags = {lag: differential(nodes, lag) for lag in (1, 2, 3, 4)}
    yield Figure("wire.differential.mean", statistics.mean(lags[1]), "bytes", 22, note=spread(lags[1]))
    for lag, sizes in lags.items():
        yield Figure(f"wire.differential.lag{lag}.mean", statistics.mean(sizes), "bytes", note=spread(sizes))
    sizes = whole(nodes)
    yield Figure("wire.whole.mean", statistics.mean(sizes), "bytes", 37, note=spread(sizes))
    yield Figure("wire.whole.max", max(sizes), "bytes", 40)
    sizes = batches(nodes, 12)
    yield Figure("wire.batch12.mean", statistics.mean(sizes), "bytes", 155, note=spread(sizes))
    least = floor(nodes)
    note = "a report's values alone, best linear prediction; identity, header and tag come on top (10 bytes)"
    yield Figure("wire.floor", least, "bytes", note=note)
    over = frame.HEADER + TAG
    for name, encode in PEERS.items():
        singles = [len(encode([report])) + over for reports in nodes for report in reports[::12]]
        twelve = [
            (len(encode(reports[start : start + 12])) + over) / 12
            for reports in nodes
            for start in range(0, len(reports) - 11, 12)
        ]
        note = (PEERS[name].__doc__ or "").split("\n")[0]
        yield Figure(f"wire.peer.{name}.mean", statistics.mean(singles), "bytes", note=note)
        yield Figure(f"wire.peer.{name}.batch12", statistics.mean(twelve), "bytes", note="a report")
    package = package_bytes()
    yield Figure("wire.package.bytes", sum(package.values()), "bytes", 20_000, note=f"{len(package)} modules")
    lamp = {place: size for place, size in build.sizes(BOARD, ARCH).items() if place in package}
    moment = lamp.pop(FOR_A_MOMENT)
    note = ", ".join(f"{Path(place).stem} {size}" for place, size in sorted(lamp.items(), key=lambda item: -item[1]))
    note += f"; lms ({moment}) comes while an update's signature is checked and goes again"
    yield Figure("wire.node_part.bytes", sum(lamp.values()), "bytes", 14_000, note=note)
