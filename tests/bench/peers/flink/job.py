"""The job in Flink SQL, on a local cluster inside one JVM; ends with its bounded input.

`python job.py BOOTSTRAP TOPIC json DIRECTORY JAR...`, run by the Python of Flink's own environment. Python only hands
over the SQL: no row passes through it. Flink SQL has no format for Arrow's IPC streams.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from pyflink.table import EnvironmentSettings, TableEnvironment

CORES = str(len(os.sched_getaffinity(0)))
SETTINGS = {
    "parallelism.default": CORES,
    "taskmanager.numberOfTaskSlots": CORES,
    "pipeline.object-reuse": "true",
    "state.backend.type": "hashmap",
    "execution.checkpointing.interval": "10 s",
    "execution.checkpointing.storage": "filesystem",
    "table.local-time-zone": "UTC",
}
SOURCE = """
CREATE TABLE sightings (
  store STRING, device BIGINT, ts BIGINT, span_ms INT,
  heard AS TO_TIMESTAMP_LTZ(ts, 3),
  WATERMARK FOR heard AS heard - INTERVAL '1' SECOND
) WITH (
  'connector' = 'kafka', 'topic' = '{topic}',
  'properties.bootstrap.servers' = '{bootstrap}', 'properties.group.id' = 'flink',
  'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'latest-offset',
  'format' = 'json'
)"""
SINK = """
CREATE TABLE {name} ({columns}) WITH (
  'connector' = 'kafka', 'topic' = 'flink.{name}', 'properties.bootstrap.servers' = '{bootstrap}',
  'format' = 'json', 'sink.delivery-guarantee' = 'at-least-once'
)"""
COLUMNS = {
    "sessions": "store STRING, device BIGINT, `first` BIGINT, `last` BIGINT, sightings BIGINT",
    "minutes": "store STRING, `minute` TIMESTAMP_LTZ(3), sightings BIGINT",
}
QUERIES = (
    """
INSERT INTO sessions
SELECT store, device, MIN(ts), MAX(ts + span_ms), COUNT(*)
FROM SESSION(TABLE sightings PARTITION BY (store, device), DESCRIPTOR(heard), INTERVAL '15' MINUTES)
GROUP BY store, device, window_start, window_end
""",
    """
INSERT INTO minutes
SELECT store, window_start, COUNT(*)
FROM TUMBLE(TABLE sightings, DESCRIPTOR(heard), INTERVAL '1' MINUTES)
GROUP BY store, window_start, window_end
""",
)


def main(bootstrap: str, topic: str, form: str, directory: str, *jars: str) -> None:
    if form != "json":
        sys.exit("Flink SQL reads JSON only")
    table = TableEnvironment.create(EnvironmentSettings.in_streaming_mode())
    checkpoints = Path(directory, "checkpoints").absolute().as_uri()
    more = {
        "pipeline.jars": ";".join(Path(jar).as_uri() for jar in jars),
        "execution.checkpointing.dir": checkpoints,
    }
    for name, value in {**SETTINGS, **more}.items():
        table.get_config().set(name, value)
    table.execute_sql(SOURCE.format(topic=topic, bootstrap=bootstrap))
    for name, columns in COLUMNS.items():
        table.execute_sql(SINK.format(name=name, columns=columns, bootstrap=bootstrap))
    both = table.create_statement_set()
    for query in QUERIES:
        both.add_insert_sql(query)
    both.execute().wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
