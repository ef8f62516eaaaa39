# An append a second.
import time

from esp32 import Partition
from node.outbox import Outbox

outbox = Outbox(Partition("outbox"))
for k in range(100):
    at = outbox.append(0, k, 7, b"body %d" % k)
    assert at == outbox.at
    time.sleep(1)
