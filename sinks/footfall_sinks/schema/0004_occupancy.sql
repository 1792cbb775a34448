-- People inside, as `footfall estimate` works them out from sensor_minutes and each store's newest calibration, and the
-- calibrations themselves. The estimator's rows are a function of both. A date's windows go in first and its day last:
-- windows of another version than the day's are of work that broke off, or are gone.

CREATE TABLE IF NOT EXISTS footfall.store_calibrations_log
(
    store_id LowCardinality(String) COMMENT 'store that it is used for',
    number UInt32 COMMENT 'order of the store''s calibrations, from 1; the newest is used',
    calibration_id String COMMENT 'name of these parameters; the same ones have the same name',
    method LowCardinality(String) COMMENT 'estimator and its version, name@version',
    parameters String COMMENT 'all of it as JSON, as `footfall calibrate --out` writes it',
    fitted_on String COMMENT 'captures or dates, minutes and person-minutes it was fitted on, JSON',
    borrowed_from Nullable(String) COMMENT 'store it was fitted in; NULL = this one',
    made_at DateTime('UTC') DEFAULT now() COMMENT 'when it was stored, UTC, the clock of the server'
)
ENGINE = ReplacingMergeTree
ORDER BY (store_id, number)
COMMENT 'Every calibration of every store; query the view store_calibrations';

CREATE TABLE IF NOT EXISTS footfall.occupancy_log
(
    store_id LowCardinality(String) COMMENT 'store, as named in the configuration',
    window_start DateTime64(3, 'UTC') COMMENT 'start of the five minutes, the radio''s clock',
    business_date Date COMMENT 'local date in the store''s time zone, turning at its cut-over hour',
    people Float64 COMMENT 'people inside, mean over the window',
    people_lo Float64 COMMENT 'lower end of the 95 % interval',
    people_hi Float64 COMMENT 'upper end of the 95 % interval',
    method LowCardinality(String) COMMENT 'estimator and its version, name@version',
    calibration_id String COMMENT 'calibration that the estimate rests on',
    version UInt64 COMMENT 'how often the date has been worked out'
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(business_date)
ORDER BY (store_id, business_date, window_start)
COMMENT 'Every version of every estimate; query the view occupancy_5min';

CREATE TABLE IF NOT EXISTS footfall.occupancy_days_log
(
    store_id LowCardinality(String) COMMENT 'store, as named in the configuration',
    business_date Date COMMENT 'local date in the store''s time zone, turning at its cut-over hour',
    windows UInt16 COMMENT 'windows of five minutes with an estimate; 0 = nobody listened for long enough',
    visitor_hours Float64 COMMENT 'hours that people were inside in all, while a sensor listened',
    visitor_hours_lo Float64 COMMENT 'lower end of the 95 % interval',
    visitor_hours_hi Float64 COMMENT 'upper end of the 95 % interval',
    sensors_hearing Float64 COMMENT 'how many sensors hear a burst that any of them hears, on average',
    apart Float64 COMMENT 'standard deviations by which random phones are louder beside stable ones, -2 to 2',
    beyond Float64 COMMENT 'share of minutes with more people than the calibration was fitted on, 0 to 1',
    method LowCardinality(String) COMMENT 'estimator and its version, name@version',
    calibration_id String COMMENT 'calibration that the estimate rests on',
    inputs UInt64 COMMENT 'hash of the date''s sensor minutes and of the calibration',
    version UInt64 COMMENT 'how often the date has been worked out'
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(business_date)
ORDER BY (store_id, business_date)
COMMENT 'Every date that has been worked out, with its total; query the view occupancy_days';

CREATE OR REPLACE VIEW footfall.store_calibrations
(
    store_id LowCardinality(String) COMMENT 'store that it is used for',
    number UInt32 COMMENT 'order of the store''s calibrations, from 1',
    is_used UInt8 COMMENT '1 = the store''s newest, which every estimate of the store is to rest on',
    calibration_id String COMMENT 'name of these parameters; the same ones have the same name',
    method LowCardinality(String) COMMENT 'estimator and its version, name@version',
    parameters String COMMENT 'all of it as JSON, as `footfall calibrate --out` writes it',
    fitted_on String COMMENT 'captures or dates, minutes and person-minutes it was fitted on, JSON',
    borrowed_from Nullable(String) COMMENT 'store it was fitted in; NULL = this one',
    made_at DateTime('UTC') COMMENT 'when it was stored, UTC, the clock of the server'
)
AS SELECT
    store_id,
    number,
    number = max(number) OVER (PARTITION BY store_id) AS is_used,
    calibration_id,
    method,
    parameters,
    fitted_on,
    borrowed_from,
    made_at
FROM footfall.store_calibrations_log FINAL
COMMENT 'What a person sounds like in each store, every version of it';

-- A calibration is outlived when phones differ from those it was fitted on for a week on average, or crowds do.
CREATE OR REPLACE VIEW footfall.occupancy_days
(
    store_id LowCardinality(String) COMMENT 'store, as named in the configuration',
    business_date Date COMMENT 'local date in the store''s time zone, turning at its cut-over hour',
    visitor_hours_estimate Float64 COMMENT 'hours that people were inside in all while a sensor listened',
    visitor_hours_estimate_lo Float64 COMMENT 'lower end of the estimate''s 95 % interval',
    visitor_hours_estimate_hi Float64 COMMENT 'upper end of the estimate''s 95 % interval',
    visitor_hours_estimate_method LowCardinality(String) COMMENT 'estimator and its version, name@version',
    calibration_id String COMMENT 'calibration that the estimate rests on, see store_calibrations',
    calibration_drifts UInt8
        COMMENT '1 = in the seven dates up to this one phones or crowds left the calibration''s range: make another',
    sensors_hearing Float64 COMMENT 'how many sensors hear a burst that any of them hears, on average',
    version UInt64 COMMENT 'rises with each revision of the date'
)
AS SELECT
    store_id,
    business_date,
    visitor_hours AS visitor_hours_estimate,
    visitor_hours_lo AS visitor_hours_estimate_lo,
    visitor_hours_hi AS visitor_hours_estimate_hi,
    method AS visitor_hours_estimate_method,
    calibration_id,
    abs(avg(apart) OVER week) > 1 OR avg(beyond) OVER week > 0.05 AS calibration_drifts,
    sensors_hearing,
    version
FROM footfall.occupancy_days_log FINAL
WHERE windows > 0
WINDOW week AS (
    PARTITION BY store_id, calibration_id ORDER BY business_date ROWS BETWEEN 6 PRECEDING AND CURRENT ROW
)
COMMENT 'Estimated hours of people inside, by date; no row where nobody listened, or without a calibration';

CREATE OR REPLACE VIEW footfall.occupancy_5min
(
    store_id LowCardinality(String) COMMENT 'store, as named in the configuration',
    window_start DateTime64(3, 'UTC') COMMENT 'start of the five minutes, UTC, the radio''s clock',
    business_date Date COMMENT 'local date in the store''s time zone, turning at its cut-over hour',
    occupancy_estimate Float64 COMMENT 'people inside, mean over the five minutes; whom the truth counted',
    occupancy_estimate_lo Float64 COMMENT 'lower end of the estimate''s 95 % interval',
    occupancy_estimate_hi Float64 COMMENT 'upper end of the estimate''s 95 % interval',
    occupancy_estimate_method LowCardinality(String) COMMENT 'estimator and its version, name@version',
    calibration_id String COMMENT 'calibration that the estimate rests on, see store_calibrations',
    calibration_drifts UInt8 COMMENT '1 = phones or crowds have left the range of the calibration, see occupancy_days'
)
AS SELECT
    o.store_id AS store_id,
    o.window_start AS window_start,
    o.business_date AS business_date,
    o.people AS occupancy_estimate,
    o.people_lo AS occupancy_estimate_lo,
    o.people_hi AS occupancy_estimate_hi,
    o.method AS occupancy_estimate_method,
    o.calibration_id AS calibration_id,
    d.calibration_drifts AS calibration_drifts
FROM footfall.occupancy_log AS o FINAL
INNER JOIN footfall.occupancy_days AS d
    ON d.store_id = o.store_id AND d.business_date = o.business_date AND d.version = o.version
COMMENT 'Estimated people inside; no row where nobody listened for half of the time, or without a calibration';

-- The errors of neighbouring windows resemble each other: an hour's interval is no narrower than its windows' on average.
CREATE OR REPLACE VIEW footfall.store_hours
(
    store_id LowCardinality(String) COMMENT 'store, as named in the configuration',
    hour_start DateTime('UTC') COMMENT 'start of the hour, UTC',
    business_date Date COMMENT 'local date in the store''s time zone, turning at its cut-over hour',
    occupancy_estimate Float64 COMMENT 'people inside, mean over the windows of the hour that were heard',
    occupancy_estimate_lo Float64 COMMENT 'lower end of the estimate''s interval, 95 % or more',
    occupancy_estimate_hi Float64 COMMENT 'upper end of the estimate''s interval, 95 % or more',
    occupancy_estimate_method LowCardinality(String) COMMENT 'estimator and its version, name@version',
    calibration_id String COMMENT 'calibration that the estimate rests on, see store_calibrations',
    windows UInt64 COMMENT 'windows of five minutes with an estimate, of 12'
)
AS SELECT
    store_id,
    toStartOfHour(window_start) AS hour_start,
    business_date,
    avg(o.occupancy_estimate) AS occupancy_estimate,
    avg(o.occupancy_estimate_lo) AS occupancy_estimate_lo,
    avg(o.occupancy_estimate_hi) AS occupancy_estimate_hi,
    occupancy_estimate_method,
    calibration_id,
    count() AS windows
FROM footfall.occupancy_5min AS o
GROUP BY store_id, hour_start, business_date, occupancy_estimate_method, calibration_id
COMMENT 'Estimated people inside, by hour';
