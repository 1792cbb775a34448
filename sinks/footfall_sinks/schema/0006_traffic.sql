-- How busy a store is beside itself, where nobody has counted people. Each sensor is compared with what it heard itself,
-- so that one more or one less shifts nothing. Hours are UTC's: for four weeks after the clocks change an hour is compared
-- with its neighbour.
CREATE OR REPLACE VIEW footfall.traffic_hours
(
    store_id LowCardinality(String) COMMENT 'store, as named in the configuration',
    hour_start DateTime('UTC') COMMENT 'start of the hour, UTC',
    business_date Date COMMENT 'local date in the store''s time zone, turning at its cut-over hour',
    traffic_index Nullable(Float64)
        COMMENT 'addresses heard nearby; 100 = the median of this hour in the four weeks before; NULL = unknown',
    weeks UInt64 COMMENT 'of those four weeks, how many had the hour heard; fewer than two make no index'
)
AS WITH
    hours AS
    (
        SELECT
            store_id,
            sensor_id,
            toStartOfHour(minute) AS hour_start,
            min(business_date) AS business_date,
            sum(random_addresses_65 + stable_addresses_65) / sum(listening_s) AS heard
        FROM footfall.sensor_minutes
        GROUP BY store_id, sensor_id, hour_start
        HAVING sum(listening_s) >= 1800
    ),
    usual AS
    (
        SELECT
            store_id,
            sensor_id,
            addWeeks(hour_start, arrayJoin([1, 2, 3, 4])) AS hour_start,
            quantileExactInclusive(0.5)(heard) AS heard,
            count() AS weeks
        FROM hours
        GROUP BY store_id, sensor_id, hour_start
    )
SELECT
    h.store_id AS store_id,
    h.hour_start AS hour_start,
    min(h.business_date) AS business_date,
    100 * sumIf(h.heard, u.weeks >= 2) / nullIf(sumIf(u.heard, u.weeks >= 2), 0) AS traffic_index,
    max(u.weeks) AS weeks
FROM hours AS h
LEFT JOIN usual AS u ON u.store_id = h.store_id AND u.sensor_id = h.sensor_id AND u.hour_start = h.hour_start
GROUP BY store_id, hour_start
SETTINGS join_use_nulls = 0
COMMENT 'Traffic Index: how busy a store is, 100 = as usual at this hour of the week. No number of people';
