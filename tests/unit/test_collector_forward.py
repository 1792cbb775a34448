"""What a failed delivery leads to, when an outage is said to begin and end, and what a radio's clock may do."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError
from footfall_collectors.forward import Verdict, verdict
from footfall_collectors.metrics import CollectorMetrics
from footfall_collectors.outage import Outage
from footfall_collectors.sources.radio_clock import RELEASED, RadioClock, Reading
from footfall_collectors.sources.unreadable import UnreadableCapture
from footfall_events.errors import ConfigError
from prometheus_client import CollectorRegistry

NOW_MS = int(RELEASED.timestamp() * 1000) + 5_000_000


@pytest.mark.parametrize(
    ("code", "in_the_air", "found"),
    [
        pytest.param(KafkaError.MSG_SIZE_TOO_LARGE, 1, Verdict.NEVER, id="refused by itself"),
        pytest.param(KafkaError.MSG_SIZE_TOO_LARGE, 2, Verdict.ALONE, id="refused with another"),
        pytest.param(KafkaError.INVALID_RECORD, 1, Verdict.NEVER, id="a record that the topic forbids"),
        pytest.param(KafkaError.UNKNOWN_TOPIC_OR_PART, 1, Verdict.AGAIN, id="a topic that does not exist yet"),
        pytest.param(KafkaError._UNKNOWN_TOPIC, 1, Verdict.AGAIN, id="the same, as the client says it"),
        pytest.param(KafkaError.TOPIC_AUTHORIZATION_FAILED, 1, Verdict.AGAIN, id="a right that is missing"),
        pytest.param(KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER, 1, Verdict.AGAIN, id="a sequence that is lost"),
        pytest.param(KafkaError.INVALID_PRODUCER_EPOCH, 1, Verdict.AGAIN, id="an epoch that is over"),
        pytest.param(KafkaError._FATAL, 1, Verdict.AGAIN, id="a client that has given up"),
        pytest.param(KafkaError._GAPLESS_GUARANTEE, 1, Verdict.AGAIN, id="a client that stops before a hole"),
        pytest.param(KafkaError._PURGE_QUEUE, 1, Verdict.AGAIN, id="taken back from the client"),
        pytest.param(KafkaError.KAFKA_STORAGE_ERROR, 1, Verdict.AGAIN, id="a broker's disk"),
        pytest.param(KafkaError._MSG_TIMED_OUT, 1, Verdict.AGAIN, id="a timeout"),
    ],
)
def test_only_what_kafka_refuses_by_itself_is_given_up(code: int, in_the_air: int, found: Verdict) -> None:
    assert verdict(code, in_the_air) is found


class Said:
    """An outage and its lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.registry = CollectorRegistry()
        self.outage = Outage(CollectorMetrics(self.registry), self.lines.append)

    def judge(self, *steps: tuple[float, int, int]) -> list[str]:
        """First words of what (monotonic s, waiting, confirmed since) after (…) make it say."""
        for step in steps:
            self.outage.judge(*step)
        return [" ".join(line.split()[:3]) for line in self.lines]


NOTHING, AGAIN = "Kafka confirms nothing", "Kafka confirms again"


@pytest.mark.parametrize(
    ("steps", "lines"),
    [
        pytest.param([(0, 1, 0), (4.9, 9, 0)], [], id="not before its time"),
        pytest.param([(0, 1, 0), (5, 9, 0), (6, 9, 0), (999, 99, 0)], [NOTHING], id="begins once"),
        pytest.param([(0, 1, 0), (5, 1, 0), (9, 1, 1), (9.1, 0, 1)], [NOTHING, AGAIN], id="ends once"),
        pytest.param([(0, 1, 0), (4, 9, 1), (8, 9, 1), (12, 9, 1)], [], id="a long queue that moves is none"),
        pytest.param([(0, 0, 0), (60, 0, 0), (61, 1, 0), (65, 1, 0)], [], id="the time with nothing to send"),
        pytest.param([(0, 1, 0), (5, 1, 0), (6, 1, 1), (10.9, 1, 0)], [NOTHING, AGAIN], id="its time begins anew"),
        pytest.param(
            [(0, 1, 0), (5, 1, 0), (6, 1, 1), (7, 1, 0), (12, 1, 0)], [NOTHING, AGAIN, NOTHING], id="a second"
        ),
    ],
)
def test_an_outage_is_two_lines(steps: list[tuple[float, int, int]], lines: list[str]) -> None:
    assert Said().judge(*steps) == lines


def test_an_outage_names_the_cause_and_counts_every_error() -> None:
    said = Said()
    for code in (KafkaError._TRANSPORT, KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN):
        said.outage.heard(KafkaError(code, "1/1 down" if code == KafkaError._ALL_BROKERS_DOWN else "refused by k:1"))
    said.judge((0, 1, 0), (5, 1, 0))
    assert "(refused by k:1)" in said.lines[0]
    counted = {
        reason: said.registry.get_sample_value("footfall_collector_client_errors_total", {"reason": reason})
        for reason in ("_TRANSPORT", "_ALL_BROKERS_DOWN")
    }
    assert counted == {"_TRANSPORT": 2, "_ALL_BROKERS_DOWN": 1}


def clock(*readings: tuple[int, int], not_before_ms: int = 0) -> RadioClock:
    """A clock that reads (wall ms after NOW_MS, steady ms) one after the other."""
    times = iter([Reading(NOW_MS + wall_ms, steady_ms) for wall_ms, steady_ms in readings])
    return RadioClock(not_before_ms, lambda: next(times))


@pytest.mark.parametrize(
    "wall_ms",
    [
        pytest.param(10_000, id="not set"),
        pytest.param(10_000 + 60_000, id="a minute forward"),
        pytest.param(10_000 - 60_000, id="a minute back"),
    ],
)
def test_a_clock_within_a_minute_of_steady_time_goes_on(wall_ms: int) -> None:
    one = clock((0, 0), (wall_ms, 10_000))
    assert one.now_ms() == NOW_MS + wall_ms


@pytest.mark.parametrize(
    ("wall_ms", "words"),
    [
        pytest.param(10_000 + 60_001, "set forward by 60 s", id="forward"),
        pytest.param(10_000 - 60_001, "set back by 60 s", id="back"),
        pytest.param(86_410_000, "set forward by 86400 s", id="a day forward"),
    ],
)
def test_a_clock_that_is_set_ends_the_run(wall_ms: int, words: str) -> None:
    one = clock((0, 0), (wall_ms, 10_000))
    with pytest.raises(UnreadableCapture, match=words):
        one.now_ms()


def test_steps_add_up_whatever_their_size() -> None:
    one = clock((0, 0), (40_000, 0), (80_000, 0))
    one.now_ms()
    with pytest.raises(UnreadableCapture, match="set forward by 80 s"):
        one.now_ms()


def test_the_radios_time_never_goes_back_not_even_behind_the_run_before() -> None:
    one = clock((0, 0), not_before_ms=NOW_MS + 30_000)
    assert [one.stamp(NOW_MS + at) - NOW_MS for at in (0, 40_000, 35_000)] == [30_000, 40_000, 40_000]


@pytest.mark.parametrize(
    ("wall_ms", "not_before_ms", "words"),
    [
        pytest.param(-5_000_001, 0, "2026-11-23T23:59:59Z, before this release was made: set it first", id="not set"),
        pytest.param(0, NOW_MS + 60_001, "the last batch bears .*Z: set the clock;.*--trust-clock", id="behind"),
    ],
)
def test_a_clock_that_cannot_be_right_is_refused(wall_ms: int, not_before_ms: int, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        clock((wall_ms, 0), not_before_ms=not_before_ms)


@pytest.mark.parametrize("not_before_ms", [0, NOW_MS - 1, NOW_MS + 60_000])
def test_a_clock_a_little_behind_the_last_run_begins(not_before_ms: int) -> None:
    assert clock((0, 0), not_before_ms=not_before_ms).latest_ms == not_before_ms
