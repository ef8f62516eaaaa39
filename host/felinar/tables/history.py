"""What a host can read from and say to a node of another schema version, given the tables of the versions it knows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from felinar_wire import WireError, codec, schema

NAMES: dict[int, str] = {
    getattr(schema, name): name
    for name in (
        *("REPORT", "EVENT", "HEALTH", "LAMP_SET", "SCHEDULE", "CONFIG"),
        *("TIME", "ACK", "TIME_REQ", "RESULT", "QUERY", "HELLO"),
    )
}
"""What the kinds of the table are called."""
FIXED = frozenset((schema.HELLO, schema.QUERY, schema.TIME, schema.TIME_REQ, schema.ACK))
"""Kinds whose base fields never change: with them any two versions find out about each other, and nothing is lost."""
COMMANDS = (schema.LAMP_SET, schema.SCHEDULE, schema.CONFIG)
UNANNOUNCED = 0
"""What made a body of a boot that nobody announced, where that matters: it can't be read."""
_NEWER_SHIFT = 16


def alike(one: schema.Field, other: schema.Field) -> bool:
    """Whether a number of steps means the same in both: name, unit and resolution are equal."""
    return one[:4] == other[:4]


class History:
    """Tables by schema version, the newest being this host's own. Versions have 16 bits; 0 is none.

    What made a stored body is told by one number: the version that its node announced (`UNANNOUNCED`, where only the node
    knows), and in the bits above the 16th, if any, the version whose base fields it was proven to share by its seal.
    """

    def __init__(self, tables: Mapping[int, schema.Tables]) -> None:
        self._tables = dict(tables)
        self.newest = max(self._tables)
        self.latest = self._tables[self.newest]
        self._bare: schema.Tables = {kind: table[: schema.base(table)] for kind, table in self.latest.items()}
        self._crcs: dict[tuple[int, int], int] = {}

    def of(self, version: int) -> schema.Tables | None:
        """The table of a version; None when this host does not know it."""
        return self._tables.get(version)

    def crc(self, version: int) -> Callable[[int], int]:
        """The function of kinds that gives a message's CRC in the nonce of frames to and from a node of that version.

        For a node that is newer than this host it is that of the newest table known: a frame opens where its base fields
        are the same, and fails its tag where they are not. Raises KeyError for an older version that is not known.
        """
        known = min(version, self.newest)
        tables = self._tables[known]

        def crc(kind: int) -> int:
            if kind in (schema.CONFIG_PART, schema.REKEY):
                return 1
            found = self._crcs.get((known, kind))
            if found is None:
                found = self._crcs[known, kind] = schema.checksum(kind, tables)
            return found

        return crc

    # Reading

    def readable(self, version: int, kind: int, *, sealed: bool = False) -> bool:
        """Whether messages of a kind can be read that a node of that version makes. `sealed`: under its seal."""
        tables = self._tables.get(version)
        if tables is not None:
            return kind in tables
        return kind in FIXED or (sealed and version > self.newest and kind in self.latest)

    def decode(
        self,
        version: int,
        kind: int,
        body: bytes,
        old: schema.Values | None = None,
        lag: int = 0,
        *,
        sealed: bool = False,
    ) -> schema.Values:
        """The values of a message in the order of the node's own table, or of the newest known if the node is newer.

        `old` and `lag` as for `codec.decode`; `old` is what this gave for the other message. `sealed`: the frame's tag
        was right under `crc(version)`. Raises WireError: "schema" (not readable), and those of `codec.decode`.
        """
        if not self.readable(version, kind, sealed=sealed):
            raise WireError("schema")
        tables = self._tables.get(version)
        return codec.decode(kind, body, old, lag, tables is None, self.latest if tables is None else tables)

    def table(self, version: int, kind: int) -> schema.Table:
        """The fields of what `decode` gives for a message of that version; KeyError for a kind that it lacks."""
        return self._tables.get(version, self.latest)[kind]

    def named(self, kind: int, table: schema.Table, values: schema.Values) -> dict[str, schema.Value]:
        """Values in the order of a table of any version by the names of this host's own table, in its steps.

        A field that the other table does not have, or whose steps are not the same there, is None.
        """
        own = self.latest.get(kind, ())
        if table is own:
            return {field[0]: value for field, value in zip(own, values, strict=True)}
        theirs = {field[0]: (field, value) for field, value in zip(table, values, strict=True)}
        found = ((field, theirs.get(field[0])) for field in own)
        return {field[0]: its[1] if its and alike(field, its[0]) else None for field, its in found}

    # Kept bodies

    def made(self, kind: int, version: int | None, *, announced: int, sealed: bool = False) -> int:
        """The number that tells what made the body of a kept message.

        `version` is what its node announced in the boot that made it, None for a boot that was not heard of; `announced`
        what it has announced now; `sealed`: it came in a frame whose tag was right under `crc(announced)`.

        A body of a boot not heard of may be of any version that the node ran before an update. Where all tables that are
        known share the message's base fields that does not matter; else it is kept and not read.
        """
        if version is None:
            bases = {self.crc(known)(kind) if kind in tables else -1 for known, tables in self._tables.items()}
            if len(bases) > 1:
                return UNANNOUNCED
            if announced in self._tables:
                return self.newest  # which reads what any of them has made
            if not sealed or announced < self.newest:
                return UNANNOUNCED
            version = announced
        if sealed and version == announced and version > self.newest:
            return self.newest << _NEWER_SHIFT | version
        return version

    def open(self, made: int, kind: int, body: bytes) -> tuple[schema.Table, schema.Values] | None:
        """The table of a stored body and its values; None when it can't be read (yet), or is damaged."""
        newer = False
        tables = self._tables.get(made & (1 << _NEWER_SHIFT) - 1)
        if tables is None:
            tables, newer = self._tables.get(made >> _NEWER_SHIFT), True
        if tables is None or kind not in tables:
            return None
        try:
            return tables[kind], codec.decode(kind, body, None, 0, newer, tables)
        except WireError:
            return None

    # Saying

    def sayable(self, version: int, kind: int, *, sealed: bool = False) -> bool:
        """Whether a message of a kind can be said to a node of that version without it meaning something else there."""
        tables = self._tables.get(version)
        if tables is None:
            return kind in FIXED or (sealed and version > self.newest and kind in self.latest)
        if kind not in tables or kind not in self.latest:
            return False
        own, its = self.latest[kind], tables[kind]
        names, its_names = {field[0]: field for field in own}, {field[0]: field for field in its}
        needed = own[: schema.base(own)]
        return all(field[0] in its_names and alike(field, its_names[field[0]]) for field in needed) and all(
            field[0] in names and alike(field, names[field[0]]) for field in its[: schema.base(its)]
        )

    def encode(self, version: int | None, kind: int, values: Sequence[schema.Value], *, sealed: bool = False) -> bytes:
        """The body of a message to a node of that version, from values in the order of this host's own table.

        Fields that were appended may be left out of `values`; those that the node does not know are not sent, and those
        that only it knows are missing. A `version` of None is everyone on the line, of whatever version, who understand
        the base fields of `FIXED`. Raises WireError: "schema" (it can't be said to that node), and those of `codec.encode`.
        """
        if version is None:
            if kind not in FIXED:
                raise WireError("schema")
            tables = self._bare
        else:
            if not self.sayable(version, kind, sealed=sealed):
                raise WireError("schema")
            tables = self._tables.get(version) or (self.latest if version > self.newest else self._bare)
        own = self.latest[kind]
        if not schema.base(own) <= len(values) <= len(own):
            raise WireError("values")
        given = [*values, *[None] * (len(own) - len(values))]
        table = tables[kind]
        if table is not own:
            places = {field[0]: i for i, field in enumerate(own)}
            found = ((field, places.get(field[0])) for field in table)
            given = [None if i is None or not alike(field, own[i]) else given[i] for field, i in found]
        return codec.encode(kind, given, None, 0, tables)

    # Who is older

    def mismatch(self, node: int, version: int, *, sealed: bool = False) -> str:
        """One sentence that says which side is older where a node and this host don't understand each other, else "".

        On a wired line nothing shows whether a newer node's messages are still the same; a seal does, frame by frame.
        """
        if version > self.newest:
            if sealed:
                return ""
            return f"node {node} speaks schema {version}, newer than this host ({self.newest}): update the host"
        front = f"node {node} speaks schema {version}, this host {self.newest}: the node is older and"
        if version not in self._tables:
            return f"{front} its messages are no longer understood: update the node"
        lost = [kind for kind in COMMANDS if kind in self._tables[version] and not self.sayable(version, kind)]
        if lost:
            return f"{front} can no longer be told {', '.join(NAMES[kind] for kind in lost)}: update the node"
        return ""
