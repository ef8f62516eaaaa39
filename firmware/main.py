"""Starts the lamp node. Whatever happens, the lamp is left lit, word of it is kept, and the node starts again."""

import gc
import json
import time

import machine

gc.threshold(32768)  # what is loaded stays together, and the microphone finds room in a row


def _light():
    """Without the application, by what board.json says; a dimmer without its signal gives full light."""
    with open("board.json") as file:
        board = json.load(file)
    lit = 0 if board.get("relay_normally_closed", True) else 1
    machine.Pin(board["pins"]["relay"], machine.Pin.OUT, value=lit)


def _last_words(error):
    # Each step on its own: what crashed the node may be in the way of any of them.
    wait = 50  # s, less than the watchdog's minute
    try:
        app.light()
    except Exception:
        try:
            _light()
        except Exception:
            pass  # a reset releases the relay, and that lights the lamp
    try:
        from node import past

        wait = past.crashed(error)
    except Exception:
        pass
    time.sleep(wait)
    machine.reset()


try:
    from node import app

    app.main()
    raise RuntimeError("the node has ended")
except KeyboardInterrupt:
    raise  # somebody at the prompt; the lamp keeps what it has
except BaseException as error:
    _last_words(error)
