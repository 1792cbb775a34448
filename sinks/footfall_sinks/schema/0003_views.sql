-- The logs as people query them. Newest versions only, withdrawn rows gone, codes as names, boots summed.

CREATE OR REPLACE VIEW footfall.visits
(
    visit_id UInt64 COMMENT 'identity of the visit; another one if its start turns out to be earlier',
    store_id LowCardinality(String) COMMENT 'store, as named in the configuration',
    device_id UInt64 COMMENT 'pseudonym of the device, comparable within one key_epoch only',
    key_epoch UInt32 COMMENT 'number of the pseudonym key: with the next one every device gets a new pseudonym',
    first_seen_at DateTime64(3, 'UTC') COMMENT 'start of the first sighting, UTC, the radio''s clock',
    last_seen_at DateTime64(3, 'UTC') COMMENT 'end of the last sighting, UTC, the radio''s clock',
    entered_at Nullable(DateTime64(3, 'UTC')) COMMENT 'first heard near enough to be inside, UTC; NULL = never entered',
    left_at Nullable(DateTime64(3, 'UTC')) COMMENT 'last heard near enough to be inside, UTC; NULL = never entered',
    dwell_s Nullable(UInt32) COMMENT 'from entered_at to left_at, whole seconds rounded down; NULL = never entered',
    sightings UInt32 COMMENT 'bursts of frames that make up the visit',
    rssi_max_dbm Int8 COMMENT 'strongest signal, dBm',
    address_class Enum8('global' = 1, 'associated' = 2)
        COMMENT 'global = the maker''s address, associated = stable because the phone uses the store''s Wi-Fi',
    role Enum8('passer_by' = 1, 'bounced' = 2, 'visitor' = 3, 'staff_or_fixed' = 4)
        COMMENT 'passer_by = never entered, bounced = left too soon, staff_or_fixed = too long or outside hours',
    engaged Bool COMMENT 'a visitor who stayed at least the rule''s engaged_s',
    business_date Date COMMENT 'local date in the store''s time zone, turning at its cut-over hour',
    rule_version LowCardinality(String) COMMENT 'name@version of the rule that decided the role',
    version UInt64 COMMENT 'rises with each revision of the row'
)
AS SELECT
    visit_id, store_id, device_id, key_epoch, first_seen_at, last_seen_at, entered_at, left_at, dwell_s, sightings,
    rssi_max_dbm, address_class, role, engaged, business_date, rule_version, version
FROM footfall.visits_log FINAL
WHERE deleted = 0
COMMENT 'Closed visits of phones with stable addresses, one row each';

CREATE OR REPLACE VIEW footfall.store_minutes
(
    store_id LowCardinality(String) COMMENT 'store, as named in the configuration',
    minute DateTime64(3, 'UTC') COMMENT 'start of the minute, UTC, the radio''s clock',
    business_date Date COMMENT 'local date in the store''s time zone, turning at its cut-over hour',
    sensors_live UInt16 COMMENT 'sensors heard in the minute',
    present UInt32 COMMENT 'phones with stable addresses inside at the minute''s end, every role',
    entries UInt32 COMMENT 'closed presences that entered in the minute, every role',
    exits UInt32 COMMENT 'closed presences that left in the minute, every role',
    passers_by UInt32 COMMENT 'closed presences that never entered, first seen in the minute',
    is_final UInt8 COMMENT '1 = only a late sighting can still change the row',
    version UInt64 COMMENT 'rises with each revision of the row'
)
AS SELECT store_id, minute, business_date, sensors_live, present, entries, exits, passers_by, is_final, version
FROM footfall.store_minutes_log FINAL
WHERE sensors_live + present + entries + exits + passers_by > 0
COMMENT 'What the stable sample did in each minute of each store; no row = no sensor was heard';

CREATE OR REPLACE VIEW footfall.sensor_minutes
(
    store_id LowCardinality(String) COMMENT 'store, as named in the configuration',
    sensor_id LowCardinality(String) COMMENT 'sensor, unique within its store',
    minute DateTime64(3, 'UTC') COMMENT 'start of the minute, UTC, the radio''s clock',
    business_date Date COMMENT 'local date in the store''s time zone, turning at its cut-over hour',
    listening_s Float64 COMMENT 'seconds of the minute in which the sensor listened, 0 to 60',
    kernel_drops UInt64 COMMENT 'frames the kernel dropped before the collector read them',
    frames UInt64 COMMENT 'frames heard in the minute, every one',
    rejected UInt64 COMMENT 'of them malformed',
    ignored UInt64 COMMENT 'of them well formed, but not sent by a client of interest',
    random_bursts_55 UInt64 COMMENT 'bursts of random addresses whose strongest frame is at or above -55 dBm',
    random_bursts_60 UInt64 COMMENT 'bursts of random addresses whose strongest frame is at or above -60 dBm',
    random_bursts_65 UInt64 COMMENT 'bursts of random addresses whose strongest frame is at or above -65 dBm',
    random_bursts_70 UInt64 COMMENT 'bursts of random addresses whose strongest frame is at or above -70 dBm',
    random_bursts_75 UInt64 COMMENT 'bursts of random addresses whose strongest frame is at or above -75 dBm',
    random_bursts_all UInt64 COMMENT 'bursts of random addresses of any or no signal',
    random_addresses_55 UInt64 COMMENT 'distinct random addresses with a burst whose strongest frame is at or above -55 dBm',
    random_addresses_60 UInt64 COMMENT 'distinct random addresses with a burst whose strongest frame is at or above -60 dBm',
    random_addresses_65 UInt64 COMMENT 'distinct random addresses with a burst whose strongest frame is at or above -65 dBm',
    random_addresses_70 UInt64 COMMENT 'distinct random addresses with a burst whose strongest frame is at or above -70 dBm',
    random_addresses_75 UInt64 COMMENT 'distinct random addresses with a burst whose strongest frame is at or above -75 dBm',
    random_addresses_all UInt64 COMMENT 'distinct random addresses with a burst of any or no signal',
    stable_bursts_55 UInt64 COMMENT 'bursts of stable addresses whose strongest frame is at or above -55 dBm',
    stable_bursts_60 UInt64 COMMENT 'bursts of stable addresses whose strongest frame is at or above -60 dBm',
    stable_bursts_65 UInt64 COMMENT 'bursts of stable addresses whose strongest frame is at or above -65 dBm',
    stable_bursts_70 UInt64 COMMENT 'bursts of stable addresses whose strongest frame is at or above -70 dBm',
    stable_bursts_75 UInt64 COMMENT 'bursts of stable addresses whose strongest frame is at or above -75 dBm',
    stable_bursts_all UInt64 COMMENT 'bursts of stable addresses of any or no signal',
    stable_addresses_55 UInt64 COMMENT 'distinct stable addresses with a burst whose strongest frame is at or above -55 dBm',
    stable_addresses_60 UInt64 COMMENT 'distinct stable addresses with a burst whose strongest frame is at or above -60 dBm',
    stable_addresses_65 UInt64 COMMENT 'distinct stable addresses with a burst whose strongest frame is at or above -65 dBm',
    stable_addresses_70 UInt64 COMMENT 'distinct stable addresses with a burst whose strongest frame is at or above -70 dBm',
    stable_addresses_75 UInt64 COMMENT 'distinct stable addresses with a burst whose strongest frame is at or above -75 dBm',
    stable_addresses_all UInt64 COMMENT 'distinct stable addresses with a burst of any or no signal'
)
AS SELECT
    store_id,
    sensor_id,
    minute,
    business_date,
    sum(listening_s) AS listening_s,
    sum(kernel_drops) AS kernel_drops,
    sum(frames) AS frames,
    sum(rejected) AS rejected,
    sum(ignored) AS ignored,
    sum(random_bursts_55) AS random_bursts_55,
    sum(random_bursts_60) AS random_bursts_60,
    sum(random_bursts_65) AS random_bursts_65,
    sum(random_bursts_70) AS random_bursts_70,
    sum(random_bursts_75) AS random_bursts_75,
    sum(random_bursts_all) AS random_bursts_all,
    sum(random_addresses_55) AS random_addresses_55,
    sum(random_addresses_60) AS random_addresses_60,
    sum(random_addresses_65) AS random_addresses_65,
    sum(random_addresses_70) AS random_addresses_70,
    sum(random_addresses_75) AS random_addresses_75,
    sum(random_addresses_all) AS random_addresses_all,
    sum(stable_bursts_55) AS stable_bursts_55,
    sum(stable_bursts_60) AS stable_bursts_60,
    sum(stable_bursts_65) AS stable_bursts_65,
    sum(stable_bursts_70) AS stable_bursts_70,
    sum(stable_bursts_75) AS stable_bursts_75,
    sum(stable_bursts_all) AS stable_bursts_all,
    sum(stable_addresses_55) AS stable_addresses_55,
    sum(stable_addresses_60) AS stable_addresses_60,
    sum(stable_addresses_65) AS stable_addresses_65,
    sum(stable_addresses_70) AS stable_addresses_70,
    sum(stable_addresses_75) AS stable_addresses_75,
    sum(stable_addresses_all) AS stable_addresses_all
FROM footfall.sensor_minutes_log FINAL
GROUP BY store_id, business_date, sensor_id, minute
COMMENT 'What each sensor heard in each minute, all its boots together; counts only';
