"""What the interpreter is started with; the rest is in simmain, which may be compiled."""

import sys

sys.path[:] = [".standin", ".app", ".frozen"]
import simmain  # noqa: F401 (only now can it be found)
