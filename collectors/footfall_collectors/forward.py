"""Sends the spool from its head and forgets what Kafka has confirmed: in order over every failure and restart."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from enum import Enum
from functools import partial
from threading import Event, Thread

from confluent_kafka import KafkaError, KafkaException, Message, Producer
from footfall_events.producing import PRODUCER

from footfall_collectors.metrics import CollectorMetrics
from footfall_collectors.outage import LOG, Outage
from footfall_collectors.publish import encoded
from footfall_collectors.session import Output
from footfall_collectors.spool import Spool, Spooled

WINDOW = 256
"""Messages in the client's memory at most, however long the spool is: 64 MB if each were as large as allowed."""

_PRODUCER = {
    **PRODUCER,
    "linger.ms": 50,
    "message.timeout.ms": 0,  # an outage has no length
    # The first failure stops the client: else what follows would overtake what is sent again. Without it, a batch
    # of one refused message takes its neighbours with it and the next batch goes through.
    "enable.gapless.guarantee": True,
}
_REFUSALS = {
    KafkaError.MSG_SIZE_TOO_LARGE,
    KafkaError.RECORD_LIST_TOO_LARGE,
    KafkaError.INVALID_MSG_SIZE,
    KafkaError.INVALID_RECORD,
    KafkaError.INVALID_TIMESTAMP,
}
_POLL_S, _IDLE_S, _LAST_WORDS_S = 0.1, 0.5, 2.0
_LONGEST_PAUSE_S = 16.0
_FLUSH_S, _FLUSH_AFTER_SIGNAL_S = 60.0, 2.0


class Verdict(Enum):
    """What follows from a failed message."""

    AGAIN = "send it again, with all that follow it"
    ALONE = "one of its request is refused: send them one by one, to find which"
    NEVER = "it is refused for ever: count it and go on behind it"


def verdict(code: int, in_the_air: int) -> Verdict:
    """Judge a failure by its error code and by how many messages were on their way with it, itself included.

    A topic that does not exist, a missing right, a lost sequence: all of them end one day, and then it is taken.
    """
    if code not in _REFUSALS:
        return Verdict.AGAIN
    return Verdict.NEVER if in_the_air == 1 else Verdict.ALONE


class Flight:
    """One client and what is in its hands, oldest first. After a failure it takes nothing any more."""

    def __init__(self, client: Mapping[str, str], outage: Outage) -> None:
        self._producer = Producer({**client, **_PRODUCER, "error_cb": outage.heard}, logger=LOG)
        self._confirmed: list[Spooled] = []
        self._unreported = 0
        self.in_the_air: dict[int, Spooled] = {}
        self.last_id = 0
        self.failure: KafkaError | None = None

    def take(self, message: Spooled) -> None:
        self.in_the_air[message.id] = message
        self.last_id = message.id
        try:
            self._producer.produce(
                message.topic, message.value, message.key, on_delivery=partial(self._report, message.id)
            )
            self._unreported += 1
        except KafkaException as error:  # larger than the client takes, or it has failed already
            self._fail(error.args[0])

    def confirmed(self, wait_s: float) -> list[Spooled]:
        """What Kafka has confirmed since the last call; waits for the first news."""
        try:
            self._producer.poll(wait_s)
        except KafkaException as error:  # how the client says that it has failed for good
            self._fail(error.args[0])
        found, self._confirmed = self._confirmed, []
        return found

    def end(self) -> list[Spooled]:
        """Take everything out of its hands and hear what became of it; what was confirmed meanwhile.

        It is of no use afterwards, and `in_the_air` is what Kafka may have but has not confirmed.
        """
        found: list[Spooled] = []
        self._producer.purge()
        deadline_s = time.monotonic() + _LAST_WORDS_S
        while True:
            found += self.confirmed(_POLL_S)
            if not self._unreported or time.monotonic() > deadline_s:
                return found

    def _report(self, number: int, error: KafkaError | None, _: Message) -> None:
        self._unreported -= 1
        if error is None:
            self._confirmed.append(self.in_the_air.pop(number))
        else:
            self._fail(error)

    def _fail(self, error: KafkaError) -> None:
        """The first error is the reason; a refusal is one even if the client's own end comes first."""
        if self.failure is None or (error.code() in _REFUSALS and self.failure.code() not in _REFUSALS):
            self.failure = error


class Forwarder:
    """Takes outputs into the spool, and sends it from its head in a thread of its own.

    A row leaves the spool when its delivery report has come, never before, and none is sent behind a hole.
    """

    def __init__(
        self,
        spool: Spool,
        client: Mapping[str, str],
        metrics: CollectorMetrics,
        say: Callable[[str], None],
        stop: Event,
    ) -> None:
        self._spool, self._client, self._metrics, self._say, self._stop = spool, client, metrics, say, stop
        self._outage = Outage(metrics, say)
        self._flight = Flight(client, self._outage)
        self._one_by_one_to = 0
        self._pause_s = 1.0
        self._news, self._closing = Event(), Event()
        self._broken: Exception | None = None
        self._thread = Thread(target=self._run, name="forwarder", daemon=True)
        self._thread.start()

    def send(self, store_id: str, output: Output) -> None:
        """Spool one output; raises once the spool is broken."""
        self._judge()
        topic, value = encoded(output)
        sensor_id = output.header.sensor_id if output.header else None
        self._spool.append(topic, store_id.encode(), value, output.at_ms, sensor_id)
        self._news.set()

    def finish(self) -> None:
        """Wait for the confirmation of what is spooled as long as it goes on, after a signal not for long.

        What is left then is no loss: the next start sends it first.
        """
        least, since_s = self._spool.messages, time.monotonic()
        while left := self._spool.messages:
            self._judge()
            if left < least and not self._stop.is_set():
                least, since_s = left, time.monotonic()
            if time.monotonic() - since_s >= (_FLUSH_AFTER_SIGNAL_S if self._stop.is_set() else _FLUSH_S):
                break
            self._closing.wait(_POLL_S / 2)
        self.close()
        self._judge()
        if left := self._spool.messages:
            self._say(f"{left} messages stay in the spool; the next start sends them first")

    def close(self) -> None:
        """End the thread; what it has not sent stays in the spool."""
        self._closing.set()
        self._news.set()
        self._thread.join()

    # -- inside ----------------------------------------------------------------------------------------

    def _judge(self) -> None:
        if self._broken is not None:
            raise self._broken

    def _run(self) -> None:
        try:
            while not self._closing.is_set():
                self._step()
            self._forget(self._flight.end())
        except Exception as error:  # whatever it is, the collector must not go on without us
            self._broken = error
            self._stop.set()

    def _step(self) -> None:
        flight = self._flight
        first_id = self._spool.first_id()
        if flight.failure is not None:
            self._forget(flight.end())
            self._after_failure(flight.failure)
            self._flight = Flight(self._client, self._outage)
        elif flight.in_the_air and (first_id is None or next(iter(flight.in_the_air)) < first_id):
            # A bound has dropped what is in the client's hands: it must not be sent any more.
            self._forget(flight.end())
            self._flight = Flight(self._client, self._outage)
        else:
            self._hand_over(first_id)
            if not flight.in_the_air:
                self._news.wait(_IDLE_S)
                self._news.clear()
            self._forget(flight.confirmed(_POLL_S if flight.in_the_air else 0))

    def _hand_over(self, first_id: int | None) -> None:
        if first_id is None:
            return
        narrow = max(first_id, self._flight.last_id + 1) <= self._one_by_one_to
        room = (1 if narrow else WINDOW) - len(self._flight.in_the_air)
        for message in self._spool.after(self._flight.last_id, room) if room > 0 else []:
            self._flight.take(message)
            self._metrics.sent.labels(message.topic).inc()

    def _forget(self, confirmed: list[Spooled]) -> None:
        self._spool.remove(message.id for message in confirmed)
        for message in confirmed:
            self._metrics.delivered.labels(message.topic).inc()
        if confirmed:
            self._pause_s = 1.0
        self._outage.judge(time.monotonic(), self._spool.messages, len(confirmed))

    def _after_failure(self, failure: KafkaError) -> None:
        """Decide where to go on; the next client takes everything unconfirmed again from the head.

        Some of it reaches Kafka twice then, none of it out of order.
        """
        in_the_air = list(self._flight.in_the_air.values())
        found = verdict(failure.code(), len(in_the_air))
        if found is Verdict.NEVER:
            (message,) = in_the_air
            self._spool.remove([message.id])
            self._metrics.failed.labels(message.topic, failure.name()).inc()
            self._say(f"Kafka refuses a message of {message.topic} for ever, it is dropped: {failure.str()}")
        elif found is Verdict.ALONE:
            self._one_by_one_to = max(self._one_by_one_to, self._flight.last_id)
        else:
            self._outage.heard(failure)
            self._closing.wait(self._pause_s)
            self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)
