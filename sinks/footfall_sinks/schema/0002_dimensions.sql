-- What the configuration says of the chain; replaced as a whole by every `footfall schema apply --config`.

CREATE TABLE IF NOT EXISTS footfall.stores
(
    store_id String COMMENT 'store, as named in the configuration',
    name String COMMENT 'name for people',
    region String COMMENT 'region, as configured',
    time_zone String COMMENT 'IANA time zone',
    area_m2 Float64 COMMENT 'sales area, square metres; 0 = not given',
    sensors UInt16 COMMENT 'sensors configured',
    lookback_days UInt16 DEFAULT 30 COMMENT 'days before a date within which an earlier visit makes a visitor repeat'
)
ENGINE = MergeTree
ORDER BY store_id
COMMENT 'The stores of the chain, from the configuration';

CREATE TABLE IF NOT EXISTS footfall.sensors
(
    store_id String COMMENT 'store of the sensor',
    sensor_id String COMMENT 'sensor, unique within its store'
)
ENGINE = MergeTree
ORDER BY (store_id, sensor_id)
COMMENT 'The sensors of each store, from the configuration';
