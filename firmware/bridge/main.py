"""Starts the bridge, and starts it again whatever happens. It lies on the board as /main.py."""

import time

import machine

try:
    from bridge import app

    app.main()
except KeyboardInterrupt:
    raise  # somebody at the prompt
except BaseException:
    pass
time.sleep(5)
machine.reset()
