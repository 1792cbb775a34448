"""Errors that cross a stage boundary, named by what the caller must do.

* FootfallError
  * Retryable      nothing is wrong with the data: pause, try again
    * BrokerUnavailable, StoreUnavailable
  * PoisonEvent    these bytes can never be processed: dead-letter them, go on
  * ConfigError    this process can never work: exit 2 before touching a socket
"""

from __future__ import annotations

from collections.abc import Sequence


class FootfallError(Exception):
    """Base of every error this project raises on purpose."""


class Retryable(FootfallError):
    """Nothing is wrong with the data: pause and try again."""


class BrokerUnavailable(Retryable):
    """Kafka did not answer in time."""


class StoreUnavailable(Retryable):
    """ClickHouse did not answer, or answered that it cannot work now."""


class PoisonEvent(FootfallError):
    """These bytes can never be processed; `reason` is a short snake_case label for counters and headers."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason


class ConfigError(FootfallError):
    """This process can never work as configured; `problems` holds every one found, each with its remedy."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = list(problems)
