"""The one exception type of the simulator."""

from __future__ import annotations


class SimulatorError(Exception):
    """The simulator cannot do what it was asked for; the message is one sentence for the user."""
