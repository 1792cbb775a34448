-- What the configuration says of the chain. Every `footfall schema apply --config` adds one load: a single insert a
-- table, so that a query sees the load before it or the whole of the new one. What has left the configuration keeps its
-- rows. Loads are numbered: going back to an earlier configuration must not pass for a repeated block and be dropped.

CREATE TABLE IF NOT EXISTS footfall.chain_log
(
    chain String COMMENT 'name of the chain',
    policy LowCardinality(String) COMMENT 'privacy policy: daily or loyalty',
    scope LowCardinality(String) COMMENT 'where pseudonyms are comparable: store or chain',
    epoch_days UInt8 COMMENT 'length of a key epoch, days',
    lookback_days UInt16 COMMENT 'days before a date within which an earlier visit makes a visitor repeat',
    load UInt32 COMMENT 'number of the load that brought the row, from 1'
)
ENGINE = ReplacingMergeTree(load)
ORDER BY tuple()
COMMENT 'The chain and its privacy policy; query the view chain';

CREATE TABLE IF NOT EXISTS footfall.stores_log
(
    store_id String COMMENT 'store, as named in the configuration',
    name String COMMENT 'name for people',
    region String COMMENT 'region, as configured; empty = not given',
    time_zone LowCardinality(String) COMMENT 'IANA time zone',
    cutover_hour UInt8 COMMENT 'local hour at which the business date turns, 0 to 12',
    area_m2 Float64 COMMENT 'sales area, square metres; 0 = not given',
    uneven_days Map(Date, UInt32) COMMENT 'business dates that do not last 24 hours, and their lengths in seconds',
    load UInt32 COMMENT 'number of the load that brought the row, from 1'
)
ENGINE = ReplacingMergeTree(load)
ORDER BY store_id
COMMENT 'Every store that was ever configured, as last configured; query the view stores';

CREATE TABLE IF NOT EXISTS footfall.sensors_log
(
    store_id String COMMENT 'store of the sensor',
    sensor_id String COMMENT 'sensor, unique within its store',
    expected_from Date COMMENT 'date from which it should be heard; 1970-01-01 = configured from the start',
    expected_to Nullable(Date) COMMENT 'newest date heard when it left the configuration; NULL = still configured',
    load UInt32 COMMENT 'number of the load that brought the row, from 1'
)
ENGINE = ReplacingMergeTree(load)
ORDER BY (store_id, sensor_id)
COMMENT 'Every sensor that was ever configured; query the view sensors';

CREATE OR REPLACE VIEW footfall.chain
(
    chain String COMMENT 'name of the chain',
    policy LowCardinality(String)
        COMMENT 'privacy policy: daily = no comparison across days, loyalty = within a key epoch',
    scope LowCardinality(String) COMMENT 'where pseudonyms are comparable: store or chain',
    epoch_days UInt8 COMMENT 'length of a key epoch, days: with the next one every device gets a new pseudonym',
    lookback_days UInt16 COMMENT 'days before a date within which an earlier visit makes a visitor repeat'
)
AS SELECT chain, policy, scope, epoch_days, lookback_days
FROM footfall.chain_log FINAL
COMMENT 'The chain and its privacy policy, one row';

CREATE OR REPLACE VIEW footfall.sensors
(
    store_id String COMMENT 'store of the sensor',
    sensor_id String COMMENT 'sensor, unique within its store',
    is_configured UInt8 COMMENT '1 = in the configuration, 0 = removed from it',
    expected_from Date COMMENT 'date from which it should be heard; 1970-01-01 = configured from the start',
    expected_to Nullable(Date) COMMENT 'newest date heard when it left the configuration; NULL = still configured'
)
AS SELECT store_id, sensor_id, expected_to IS NULL AS is_configured, expected_from, expected_to
FROM footfall.sensors_log FINAL
COMMENT 'The sensors of each store, removed ones included';

CREATE OR REPLACE VIEW footfall.stores
(
    store_id String COMMENT 'store, as named in the configuration',
    name String COMMENT 'name for people',
    region String COMMENT 'region, as configured; empty = not given',
    time_zone LowCardinality(String) COMMENT 'IANA time zone',
    cutover_hour UInt8 COMMENT 'local hour at which the business date turns, 0 to 12',
    area_m2 Float64 COMMENT 'sales area, square metres; 0 = not given',
    sensors UInt64 COMMENT 'sensors configured now; 0 = the store has left the configuration'
)
AS SELECT s.store_id, s.name, s.region, s.time_zone, s.cutover_hour, s.area_m2, countIf(e.is_configured) AS sensors
FROM footfall.stores_log AS s FINAL
LEFT JOIN footfall.sensors AS e ON e.store_id = s.store_id
GROUP BY ALL
COMMENT 'The stores of the chain, removed ones included';
