"""Proves to a host that this node has its key: loaded for one CHALLENGE and let go of again."""

import sys

import esp32

from node.app import let_go

_AES = "felinar_wire.aes"


def answer(uplink, nonce: bytes) -> None:
    """Send PROOF, with CMAC-64 under a key for this alone; a node without a key says nothing."""
    root = bytearray(16)
    try:
        size = esp32.NVS("felinar").get_blob("key", root)
    except OSError:
        size = 0
    if len(nonce) != 16 or size != 16:
        uplink.bad += 1
    else:
        stays = _AES in sys.modules
        from felinar_wire.aes import cmac, derive

        address = uplink._app.config.address
        tag = cmac(derive(bytes(root), b"prove", b""), nonce + uplink._uid + bytes((address >> 8, address & 255)))
        uplink._send(0x1B, nonce + tag[:8])
        if not stays:
            sys.modules.pop(_AES)
            delattr(sys.modules["felinar_wire"], "aes")
    let_go()
