"""How a node on the air comes to its keys: JOIN_REQ and what answers it, and REKEY. Loaded for one and let go of again."""

# What is private to node.radio_link.Link is this module's as well.
# pyright: reportPrivateUsage=false

import os

from felinar_wire import join, schema, tesla


def request(link) -> None:
    """Make a JOIN_REQ under a counter that is durable. Raises WireError when there is none to be had."""
    app = link._app
    store = app.health.store
    counter = join.reserve(lambda: store.get("join"), lambda value: store.set("join", value))
    link._join = (counter, join.request(link._root, app.config.address, counter, schema.VERSION, app.boot), 0)


def accept(link, data: bytes) -> None:
    """Begin the session that a JOIN_ACC brings. Raises WireError when it is none, or not ours."""
    radio = link._radio
    counter, _, asked = link._join
    link._session, host, slot, slot_map, key = join.accept(
        data, link._root, link._app.config.address, counter, schema.crc, radio.counts
    )
    now = radio.now()
    n = host // tesla.INTERVAL
    link._join = None
    link._clock.exchange(host, asked, now)
    chain = tesla.Chain(tesla.anchor(n), key)
    if link._group:
        link._group.chain = chain
    else:
        link._group = tesla.Group(chain, radio.counts, os.urandom)
        _regroup(link)
    radio.access.joined(slot, slot_map, n, now)


def _regroup(link) -> None:
    """Listen to the groups whose keys are there."""
    zones = link._zones
    group = link._group
    for i in range(0, len(zones) - 17, 18):
        address = zones[i] << 8 | zones[i + 1]
        group.zones[address] = zones[i + 2 : i + 18]
        group.last.setdefault(address, 0)


def rekey(link, payload: bytes) -> int:
    """Keep the key in a REKEY, the node's own or a zone's; returns a RESULT code."""
    address = payload[2:4]
    if len(payload) != 20:
        return schema.RESULT_INVALID
    zones = link._zones
    root = address == b"\0\0"
    try:
        if root:
            link._nvs.set_blob("key", payload[4:])
        else:
            zones = [zones[i : i + 18] for i in range(0, len(zones), 18)]
            zones = b"".join([zone for zone in zones if zone[:2] != address][-3:]) + payload[2:]
            link._nvs.set_blob("zones", zones)
        link._nvs.commit()
    except OSError:
        return schema.RESULT_REFUSED
    if root:
        link._root = payload[4:]
        link._radio.access.joining = True  # which puts the new key in force
    else:
        link._zones = zones
        if link._group:
            _regroup(link)
    return schema.RESULT_APPLIED
