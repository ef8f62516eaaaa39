"""What runs for long is collected only when somebody asks for it: `make soak SOAK_DAYS=365`."""

from __future__ import annotations

import os

collect_ignore_glob = [] if "SOAK_DAYS" in os.environ else ["test_*.py"]
