"""Starts the bridge, and starts it again whatever happens. It lies on the board as /main.py."""

import time

import machine

try:
    from bridge import app

    app.main()
except KeyboardInterrupt:
    # Somebody at the prompt, or a byte 3 in what the host has said meanwhile. A soft reset (Ctrl-D, and what mpremote does
    # first) ends the timer.
    machine.Timer(0, mode=machine.Timer.ONE_SHOT, period=30000, callback=lambda timer: machine.reset())
    raise
except BaseException:
    pass
time.sleep(5)
machine.reset()
