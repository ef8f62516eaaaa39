"""What the interpreter is started with; the rest is in simmain, which may be compiled."""

import sys

sys.path[:] = [".standin", ".app", ".frozen"]
import simmain  # only now can it be found

simmain.main()
