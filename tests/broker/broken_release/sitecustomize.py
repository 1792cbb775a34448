"""A release with a bug: with this directory on PYTHONPATH, Python itself loads it into every process of ours.

A batch of the boot `raises` makes the fold raise, one of the boot `kills` takes the process with it.
"""

import os
import signal
from collections.abc import Sequence

from footfall_streams.events import Message
from footfall_streams.fold import StoreJob
from footfall_streams.step import Step

_sound = StoreJob.take


def _take(self: StoreJob, messages: Sequence[Message]) -> Step:
    for message in messages:
        if not message.quarantined and b"boot-raises" in message.value:
            raise RuntimeError("cannot fold device 12345678901234567890")
        if not message.quarantined and b"boot-kills" in message.value:
            os.kill(os.getpid(), signal.SIGKILL)
    return _sound(self, messages)


StoreJob.take = _take  # type: ignore[method-assign]
