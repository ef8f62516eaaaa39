"""From a bare board to a proven node: ports, chip, image, one write, and the proof of its key.

`ports.find()` tells what is plugged in, `chip.detect(port)` what is behind it, `image.build(...)` makes all that the board
gets, `steps.flash(port, image)` writes and proves it, and `steps.provision(...)` does it all with a key that is in the
key store before it is on a board. Every failure is a `FlashError` with its entry of the `catalogue`.
"""

from felinar.flash.catalogue import FlashError
from felinar.flash.chip import Chip
from felinar.flash.image import Image
from felinar.flash.ports import Port
from felinar.flash.progress import Progress
from felinar.flash.steps import Report, flash, provision

__all__ = ["Chip", "FlashError", "Image", "Port", "Progress", "Report", "flash", "provision"]
