-- Every version of every row, as the topics carry them; people query the views instead.
-- The sorting keys hold only what a revision cannot change; a token window makes repeated blocks vanish. They hold the
-- partition's column too: only then does FINAL leave out the partitions that a query's dates do not touch.
-- A projection `span` keeps the first and last date of each sensor or store beside every part: the views ask for them
-- over all of history, whatever dates are queried.

CREATE TABLE IF NOT EXISTS footfall.visits_log
(
    visit_id UInt64 COMMENT 'BLAKE2b of store, device, key epoch and first_seen_at',
    store_id LowCardinality(String) COMMENT 'store, as named in the configuration',
    device_id UInt64 COMMENT 'pseudonym of the device, comparable within one key epoch only',
    key_epoch UInt32 COMMENT 'number of the pseudonym key''s epoch',
    first_seen_at DateTime64(3, 'UTC') COMMENT 'start of the first sighting, the radio''s clock',
    last_seen_at DateTime64(3, 'UTC') COMMENT 'end of the last sighting, the radio''s clock',
    entered_at Nullable(DateTime64(3, 'UTC')) COMMENT 'start of the first sighting at or above enter_dbm',
    left_at Nullable(DateTime64(3, 'UTC')) COMMENT 'latest end at or above stay_dbm, not before entered_at',
    dwell_s Nullable(UInt32) COMMENT 'left_at - entered_at, whole seconds rounded down',
    sightings UInt32 COMMENT 'bursts merged into the visit',
    rssi_max_dbm Int8 COMMENT 'strongest signal, dBm',
    address_class Int8 COMMENT 'highest code among its sightings: 1=global, 2=associated, 3=random',
    role Int8 COMMENT '1=passer_by, 2=bounced, 3=visitor, 4=staff_or_fixed',
    engaged Bool COMMENT 'a visitor who stayed at least engaged_s',
    business_date Date COMMENT 'local date in the store''s time zone, turning at its cut-over hour',
    rule_version LowCardinality(String) COMMENT 'name@version of the store''s visit rule',
    version UInt64 COMMENT '(log epoch << 48) | offset of the last message that touched the row',
    deleted UInt8 COMMENT '1 = withdrawn: reopened, joined to another, or started earlier'
)
ENGINE = ReplacingMergeTree(version, deleted)
PARTITION BY toYYYYMM(business_date)
ORDER BY (store_id, business_date, visit_id)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'Every version of every visit; query the view visits';

CREATE TABLE IF NOT EXISTS footfall.store_minutes_log
(
    store_id LowCardinality(String) COMMENT 'store, as named in the configuration',
    minute DateTime64(3, 'UTC') COMMENT 'start of the minute, the radio''s clock',
    business_date Date COMMENT 'local date in the store''s time zone, turning at its cut-over hour',
    sensors_live UInt16 COMMENT 'sensors with a batch whose clock falls into the minute',
    present UInt32 COMMENT 'stable devices inside at the minute''s end, every role',
    entries UInt32 COMMENT 'closed presences that entered in the minute',
    exits UInt32 COMMENT 'closed presences that left in the minute',
    passers_by UInt32 COMMENT 'closed presences that never entered, first seen in the minute',
    is_final UInt8 COMMENT '1 = only a late sighting can still change the row',
    version UInt64 COMMENT '(log epoch << 48) | offset of the message that published the row',
    PROJECTION span (SELECT store_id, max(business_date) GROUP BY store_id)
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(business_date)
ORDER BY (store_id, business_date, minute)
SETTINGS non_replicated_deduplication_window = 1000, deduplicate_merge_projection_mode = 'rebuild'
COMMENT 'Every version of every store minute; query the view store_minutes';

CREATE TABLE IF NOT EXISTS footfall.sensor_minutes_log
(
    store_id LowCardinality(String) COMMENT 'store, as named in the configuration',
    sensor_id LowCardinality(String) COMMENT 'sensor, unique within its store',
    boot_id LowCardinality(String) COMMENT 'one run of the collector; rows of one minute and several boots add up',
    minute DateTime64(3, 'UTC') COMMENT 'start of the minute, the radio''s clock',
    business_date Date COMMENT 'local date in the store''s time zone, turning at its cut-over hour',
    listening_s Float64 COMMENT 'seconds of the minute in which the sensor listened, 0 to 60',
    kernel_drops UInt32 COMMENT 'frames the kernel dropped before the collector read them',
    frames UInt32 COMMENT 'frames heard in the minute, every one',
    rejected UInt32 COMMENT 'of them malformed',
    ignored UInt32 COMMENT 'of them well formed, but not sent by a client of interest',
    random_bursts_55 UInt32 COMMENT 'bursts of random addresses whose strongest frame is at or above -55 dBm',
    random_bursts_60 UInt32 COMMENT 'bursts of random addresses whose strongest frame is at or above -60 dBm',
    random_bursts_65 UInt32 COMMENT 'bursts of random addresses whose strongest frame is at or above -65 dBm',
    random_bursts_70 UInt32 COMMENT 'bursts of random addresses whose strongest frame is at or above -70 dBm',
    random_bursts_75 UInt32 COMMENT 'bursts of random addresses whose strongest frame is at or above -75 dBm',
    random_bursts_all UInt32 COMMENT 'bursts of random addresses of any or no signal',
    random_addresses_55 UInt32 COMMENT 'distinct random addresses with a burst whose strongest frame is at or above -55 dBm',
    random_addresses_60 UInt32 COMMENT 'distinct random addresses with a burst whose strongest frame is at or above -60 dBm',
    random_addresses_65 UInt32 COMMENT 'distinct random addresses with a burst whose strongest frame is at or above -65 dBm',
    random_addresses_70 UInt32 COMMENT 'distinct random addresses with a burst whose strongest frame is at or above -70 dBm',
    random_addresses_75 UInt32 COMMENT 'distinct random addresses with a burst whose strongest frame is at or above -75 dBm',
    random_addresses_all UInt32 COMMENT 'distinct random addresses with a burst of any or no signal',
    stable_bursts_55 UInt32 COMMENT 'bursts of stable addresses whose strongest frame is at or above -55 dBm',
    stable_bursts_60 UInt32 COMMENT 'bursts of stable addresses whose strongest frame is at or above -60 dBm',
    stable_bursts_65 UInt32 COMMENT 'bursts of stable addresses whose strongest frame is at or above -65 dBm',
    stable_bursts_70 UInt32 COMMENT 'bursts of stable addresses whose strongest frame is at or above -70 dBm',
    stable_bursts_75 UInt32 COMMENT 'bursts of stable addresses whose strongest frame is at or above -75 dBm',
    stable_bursts_all UInt32 COMMENT 'bursts of stable addresses of any or no signal',
    stable_addresses_55 UInt32 COMMENT 'distinct stable addresses with a burst whose strongest frame is at or above -55 dBm',
    stable_addresses_60 UInt32 COMMENT 'distinct stable addresses with a burst whose strongest frame is at or above -60 dBm',
    stable_addresses_65 UInt32 COMMENT 'distinct stable addresses with a burst whose strongest frame is at or above -65 dBm',
    stable_addresses_70 UInt32 COMMENT 'distinct stable addresses with a burst whose strongest frame is at or above -70 dBm',
    stable_addresses_75 UInt32 COMMENT 'distinct stable addresses with a burst whose strongest frame is at or above -75 dBm',
    stable_addresses_all UInt32 COMMENT 'distinct stable addresses with a burst of any or no signal',
    PROJECTION span
    (
        SELECT store_id, sensor_id, min(business_date), max(business_date) GROUP BY store_id, sensor_id
    )
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(business_date)
ORDER BY (store_id, business_date, sensor_id, minute, boot_id)
SETTINGS non_replicated_deduplication_window = 1000, deduplicate_merge_projection_mode = 'rebuild'
COMMENT 'Every sensor minute of every boot; query the view sensor_minutes';
