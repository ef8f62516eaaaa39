"""The log: one line an event on standard error, for people on a terminal, as JSON elsewhere."""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog

from felinar.config import LogConfig

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def configure(config: LogConfig) -> Any:
    """Set up logging for this process and return its logger. Other libraries' warnings go the same way."""
    people = config.format == "console" or (config.format == "auto" and sys.stderr.isatty())
    render: Any = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()) if people else structlog.processors.JSONRenderer()
    )
    shared: list[Any] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    if not people:
        shared.append(structlog.processors.format_exc_info)
    structlog.configure(
        processors=[*shared, render],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[config.level]),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
        )
    )
    logging.basicConfig(handlers=[handler], level=max(_LEVELS[config.level], logging.WARNING), force=True)
    return structlog.get_logger()
