"""Starts the lamp node. Whatever happens, the lamp is left lit, word of it is kept, and the node starts again."""

import sys
import time

import machine


def _last_words():
    # Each step on its own: what crashed the node may be in the way of any of them.
    try:
        sys.modules["node.app"].light()
    except Exception:
        pass  # a reset releases the relay, and that lights the lamp
    try:
        from node import health

        health.crashed()
    except Exception:
        pass
    time.sleep(5)
    machine.reset()


try:
    from node import app

    app.main()
    _last_words()
except KeyboardInterrupt:
    raise  # somebody at the prompt; the lamp keeps what it has
except BaseException:
    _last_words()
