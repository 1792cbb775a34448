-- What a day was like: of each sensor, of each device, of each store and of the chain.

-- A sensor is expected on every date from the chain's first (or the one after it was added) to the chain's newest, or
-- to the newest when it was removed. One that is heard outside that span was there, so the span stretches.
-- A business day lasts 24 hours but on the days the clocks change. ClickHouse takes a time zone as a constant only, so
-- the loader writes the uneven days of each store's zone and cut-over beside the store, for it knows its calendar.
-- Listening is summed in whole milliseconds: exact, in whatever order rows are added.
CREATE OR REPLACE VIEW footfall.sensor_days
(
    store_id String COMMENT 'store of the sensor',
    sensor_id String COMMENT 'sensor, unique within its store',
    business_date Date COMMENT 'local date in the store''s time zone, turning at its cut-over hour',
    listened_s Float64 COMMENT 'seconds of the business day in which the sensor listened; 0 = dark',
    day_s UInt32 COMMENT 'length of the business day in seconds: 86400, or an hour less or more when the clocks change'
)
AS WITH
    -- Both bounds come from the table's metadata, whatever its size.
    span AS
    (
        SELECT min(business_date) AS first_date, max(business_date) AS last_date, count() AS heard
        FROM footfall.sensor_minutes_log
    ),
    heard AS
    (
        SELECT store_id, sensor_id, min(business_date) AS first_date, max(business_date) AS last_date
        FROM footfall.sensor_minutes_log
        GROUP BY store_id, sensor_id
    ),
    expected AS
    (
        SELECT
            s.store_id AS store_id,
            s.sensor_id AS sensor_id,
            greatest(span.first_date, least(s.expected_from, ifNull(h.first_date, s.expected_from))) AS begins,
            if(s.is_configured, span.last_date, greatest(s.expected_to, ifNull(h.last_date, s.expected_to))) AS ends,
            toDate(arrayJoin(range(toUInt16(begins), toUInt16(assumeNotNull(ends)) + 1))) AS business_date
        FROM footfall.sensors AS s
        CROSS JOIN span
        LEFT JOIN heard AS h ON h.store_id = s.store_id AND h.sensor_id = s.sensor_id
        WHERE span.heard > 0
    ),
    uneven AS
    (
        SELECT store_id, business_date, day_s
        FROM footfall.stores_log FINAL
        ARRAY JOIN mapKeys(uneven_days) AS business_date, mapValues(uneven_days) AS day_s
    ),
    radio AS
    (
        SELECT store_id, sensor_id, business_date, sum(round(1000 * listening_s)) / 1000 AS listened_s
        FROM footfall.sensor_minutes_log FINAL
        GROUP BY store_id, sensor_id, business_date
    )
SELECT
    e.store_id AS store_id,
    e.sensor_id AS sensor_id,
    e.business_date AS business_date,
    ifNull(r.listened_s, 0) AS listened_s,
    ifNull(u.day_s, 86400) AS day_s
FROM expected AS e
LEFT JOIN radio AS r ON r.store_id = e.store_id AND r.sensor_id = e.sensor_id AND r.business_date = e.business_date
LEFT JOIN uneven AS u ON u.store_id = e.store_id AND u.business_date = e.business_date
SETTINGS join_use_nulls = 1
COMMENT 'One row for every sensor and date on which it should have been heard';

-- Of a day's visits in order of dates the first looks back to an earlier day, the others to the same day and go.
CREATE OR REPLACE VIEW footfall.visitor_days
(
    store_id LowCardinality(String) COMMENT 'store, as named in the configuration',
    business_date Date COMMENT 'local date in the store''s time zone, turning at its cut-over hour',
    key_epoch UInt32 COMMENT 'number of the pseudonym key: with the next one every device gets a new pseudonym',
    device_id UInt64 COMMENT 'pseudonym of the device, comparable within one key_epoch only',
    last_business_date Nullable(Date) COMMENT 'date of its visitor visit before, same store and key epoch; NULL = none'
)
AS SELECT store_id, business_date, key_epoch, device_id, last_business_date
FROM
(
    SELECT
        store_id,
        business_date,
        key_epoch,
        device_id,
        lagInFrame(toNullable(business_date)) OVER (
            PARTITION BY device_id, key_epoch, store_id ORDER BY business_date
            ROWS BETWEEN 1 PRECEDING AND CURRENT ROW
        ) AS last_business_date
    FROM footfall.visits
    WHERE role = 'visitor'
)
WHERE last_business_date IS NULL OR last_business_date < business_date
COMMENT 'Each device with a visitor visit at a store on a date, and the date of its visitor visit before that';

-- Little's law: people = hours of people inside / hours that one stays. How long one stays is told by the stable phones
-- that entered, bounced ones included. A phone is not heard at the moment it comes or goes: of k bursts at random moments
-- the first and the last are (k - 1) / (k + 1) of the stay apart. A date with fewer than 30 entries takes as many as it
-- lacks from the mean of the four weeks before.
CREATE OR REPLACE VIEW footfall.visitor_estimates
(
    store_id LowCardinality(String) COMMENT 'store, as named in the configuration',
    business_date Date COMMENT 'local date in the store''s time zone, turning at its cut-over hour',
    visitors_estimate Nullable(Float64)
        COMMENT 'people who came while a sensor listened, estimated; NULL = no stable phone entered for four weeks',
    visitors_estimate_lo Nullable(Float64) COMMENT 'lower end of the estimate''s 95 % interval',
    visitors_estimate_hi Nullable(Float64) COMMENT 'upper end of the estimate''s 95 % interval',
    visitors_estimate_method LowCardinality(String) COMMENT 'estimator and its version, name@version',
    calibration_id String COMMENT 'calibration that the estimate rests on, see store_calibrations',
    calibrated_in String COMMENT 'store whose truth the calibration rests on',
    calibration_drifts UInt8 COMMENT '1 = phones or crowds have left the range of the calibration, see occupancy_days',
    mean_stay_s Nullable(Float64) COMMENT 'how long one stays on average, from entering to leaving, seconds',
    entries Float64 COMMENT 'entries of stable phones that the mean rests on, those of the weeks before included'
)
AS WITH
    entered AS
    (
        SELECT
            store_id,
            business_date,
            toFloat64(count()) AS entries,
            uniqExact(device_id, key_epoch) AS devices,
            sum(stay_s) AS stayed,
            sum(stay_s * stay_s) AS squares
        FROM
        (
            SELECT
                v.store_id AS store_id,
                v.business_date AS business_date,
                v.device_id AS device_id,
                v.key_epoch AS key_epoch,
                assumeNotNull(v.dwell_s) * (1 + 2 / greatest(v.sightings / d.sensors_hearing - 1, 1)) AS stay_s
            FROM footfall.visits AS v
            INNER JOIN footfall.occupancy_days AS d ON d.store_id = v.store_id AND d.business_date = v.business_date
            WHERE v.role IN ('bounced', 'visitor')
        )
        GROUP BY store_id, business_date
    ),
    four_weeks AS
    (
        SELECT
            d.store_id AS store_id,
            d.business_date AS business_date,
            d.visitor_hours_estimate AS hours,
            d.visitor_hours_estimate_lo AS hours_lo,
            d.visitor_hours_estimate_hi AS hours_hi,
            d.visitor_hours_estimate_method AS method,
            d.calibration_id AS calibration_id,
            d.calibration_drifts AS calibration_drifts,
            ifNull(e.entries, 0) AS today,
            ifNull(sum(e.entries) OVER before, 0) AS earlier,
            least(greatest(30 - today, 0), earlier) / greatest(earlier, 1) AS taken,
            today + taken * earlier AS entries,
            (ifNull(e.devices, 0) + taken * ifNull(sum(e.devices) OVER before, 0)) / nullIf(entries, 0) AS per_entry,
            (ifNull(e.stayed, 0) + taken * ifNull(sum(e.stayed) OVER before, 0)) / nullIf(entries, 0) AS mean_stay_s,
            (ifNull(e.squares, 0) + taken * ifNull(sum(e.squares) OVER before, 0)) / nullIf(entries, 0) AS mean_square,
            greatest(mean_square / (mean_stay_s * mean_stay_s) - 1, 0) / entries AS variance,
            -- One over a mean is too large by its variance, on average (Cochran, Sampling Techniques, 1977, chapter 6).
            per_entry * 3600 / nullIf(mean_stay_s, 0) / (1 + variance) AS people_per_hour,
            1.96 * 1.96 * variance AS doubt
        FROM footfall.occupancy_days AS d
        LEFT JOIN entered AS e ON e.store_id = d.store_id AND e.business_date = d.business_date
        WINDOW before AS (
            PARTITION BY d.store_id ORDER BY toInt32(d.business_date) RANGE BETWEEN 28 PRECEDING AND 1 PRECEDING
        )
    )
SELECT
    f.store_id AS store_id,
    f.business_date AS business_date,
    f.hours * f.people_per_hour AS visitors_estimate,
    -- The two doubts, of the hours and of the mean stay, are independent: the squares of their logarithms add up.
    if(
        f.hours_lo > 0,
        visitors_estimate * exp(-sqrt(pow(log(f.hours / f.hours_lo), 2) + f.doubt)),
        0 * f.people_per_hour
    ) AS visitors_estimate_lo,
    if(
        f.hours > 0,
        visitors_estimate * exp(sqrt(pow(log(f.hours_hi / f.hours), 2) + f.doubt)),
        f.hours_hi * f.people_per_hour
    ) AS visitors_estimate_hi,
    f.method AS visitors_estimate_method,
    f.calibration_id AS calibration_id,
    ifNull(c.borrowed_from, f.store_id) AS calibrated_in,
    f.calibration_drifts AS calibration_drifts,
    f.mean_stay_s AS mean_stay_s,
    f.entries AS entries
FROM four_weeks AS f
LEFT JOIN
(
    SELECT store_id, calibration_id, any(borrowed_from) AS borrowed_from
    FROM footfall.store_calibrations
    GROUP BY store_id, calibration_id
) AS c ON c.store_id = f.store_id AND c.calibration_id = f.calibration_id
SETTINGS join_use_nulls = 1
COMMENT 'Estimated people who came, by store and date';

-- A day is final once its store has published a minute of a later date, for then its watermark has left the day, and
-- once no minute of the day is open: a presence that is still open holds the minute it began in. The log is asked, not
-- the view: a minute may be empty and open. A store gone dark publishes nothing, and its day waits with it.
CREATE OR REPLACE VIEW footfall.store_days
(
    store_id String COMMENT 'store, as named in the configuration',
    business_date Date COMMENT 'local date in the store''s time zone, turning at its cut-over hour',
    stable_visitors Nullable(UInt64) COMMENT 'distinct phones with a visitor visit; NULL = the store was dark',
    stable_visits Nullable(UInt64) COMMENT 'visitor visits; NULL = the store was dark',
    stable_bounced Nullable(UInt64) COMMENT 'presences that entered and left before min_dwell_s; NULL = dark',
    stable_passers_by Nullable(UInt64) COMMENT 'presences that never entered; NULL = the store was dark',
    stable_engaged Nullable(UInt64) COMMENT 'visitor visits of at least engaged_s; NULL = the store was dark',
    stable_new Nullable(UInt64) COMMENT 'stable_visitors without an earlier visit that counts; NULL = dark',
    stable_repeat Nullable(UInt64)
        COMMENT 'stable_visitors seen as visitors here before, within lookback_days and the key epoch; NULL = dark',
    repeat_share Nullable(Float64) COMMENT 'stable_repeat / stable_visitors, 0 to 1; NULL = no visitors',
    capture_rate Nullable(Float64) COMMENT 'visits / (visits + bounced + passers-by), 0 to 1; NULL = none of them',
    mean_dwell_s Nullable(Float64) COMMENT 'mean dwell of the visitor visits, seconds; NULL = no visits',
    median_dwell_s Nullable(Float64) COMMENT 'median dwell of the visitor visits, seconds; NULL = no visits',
    coverage Float64 COMMENT 'share of the expected sensors'' time in the business day that was heard, 0 to 1',
    is_final UInt8 COMMENT '1 = the day is over and only a late sighting can still change its figures',
    visitors_estimate Nullable(Float64)
        COMMENT 'people who came while a sensor listened, estimated; NULL = no calibration',
    visitors_estimate_lo Nullable(Float64) COMMENT 'lower end of the estimate''s 95 % interval; NULL = no calibration',
    visitors_estimate_hi Nullable(Float64) COMMENT 'upper end of the estimate''s 95 % interval; NULL = no calibration',
    visitors_estimate_method Nullable(String) COMMENT 'estimator and its version, name@version; NULL = no calibration',
    calibration_id Nullable(String) COMMENT 'calibration that the estimate rests on, see store_calibrations',
    calibration_drifts Nullable(UInt8)
        COMMENT '1 = phones or crowds have left the range of the calibration, see occupancy_days; NULL = none'
)
AS WITH
    days AS
    (
        SELECT
            store_id,
            business_date,
            sum(listened_s) > 0 AS heard,
            sum(least(listened_s, day_s)) / sum(day_s) AS coverage
        FROM footfall.sensor_days
        GROUP BY store_id, business_date
    ),
    met AS
    (
        SELECT
            store_id,
            business_date,
            countIf(role = 'visitor') AS visits,
            countIf(role = 'bounced') AS bounced,
            countIf(role = 'passer_by') AS passers_by,
            countIf(engaged) AS engaged_visits,
            avgOrNullIf(dwell_s, role = 'visitor') AS mean_dwell_s,
            quantileExactInclusiveOrNullIf(0.5)(dwell_s, role = 'visitor') AS median_dwell_s
        FROM footfall.visits
        GROUP BY store_id, business_date
    ),
    devices AS
    (
        SELECT
            store_id,
            business_date,
            count() AS visitors,
            countIf(last_business_date >= business_date - (SELECT lookback_days FROM footfall.chain)) AS repeat
        FROM footfall.visitor_days
        GROUP BY store_id, business_date
    ),
    minutes AS
    (
        SELECT store_id, business_date, min(is_final) AS all_final
        FROM footfall.store_minutes_log FINAL
        GROUP BY store_id, business_date
    ),
    reached AS
    (
        SELECT store_id, max(business_date) AS newest_date
        FROM footfall.store_minutes_log
        GROUP BY store_id
    )
SELECT
    d.store_id AS store_id,
    d.business_date AS business_date,
    if(d.heard, ifNull(v.visitors, 0), NULL) AS stable_visitors,
    if(d.heard, ifNull(m.visits, 0), NULL) AS stable_visits,
    if(d.heard, ifNull(m.bounced, 0), NULL) AS stable_bounced,
    if(d.heard, ifNull(m.passers_by, 0), NULL) AS stable_passers_by,
    if(d.heard, ifNull(m.engaged_visits, 0), NULL) AS stable_engaged,
    if(d.heard, ifNull(v.visitors - v.repeat, 0), NULL) AS stable_new,
    if(d.heard, ifNull(v.repeat, 0), NULL) AS stable_repeat,
    stable_repeat / nullIf(stable_visitors, 0) AS repeat_share,
    stable_visits / nullIf(stable_visits + stable_bounced + stable_passers_by, 0) AS capture_rate,
    if(d.heard, m.mean_dwell_s, NULL) AS mean_dwell_s,
    if(d.heard, m.median_dwell_s, NULL) AS median_dwell_s,
    d.coverage AS coverage,
    ifNull(d.business_date < t.newest_date AND ifNull(f.all_final, 1), 0) AS is_final,
    w.visitors_estimate AS visitors_estimate,
    w.visitors_estimate_lo AS visitors_estimate_lo,
    w.visitors_estimate_hi AS visitors_estimate_hi,
    w.visitors_estimate_method AS visitors_estimate_method,
    w.calibration_id AS calibration_id,
    w.calibration_drifts AS calibration_drifts
FROM days AS d
LEFT JOIN met AS m ON m.store_id = d.store_id AND m.business_date = d.business_date
LEFT JOIN devices AS v ON v.store_id = d.store_id AND v.business_date = d.business_date
LEFT JOIN minutes AS f ON f.store_id = d.store_id AND f.business_date = d.business_date
LEFT JOIN reached AS t ON t.store_id = d.store_id
LEFT JOIN footfall.visitor_estimates AS w ON w.store_id = d.store_id AND w.business_date = d.business_date
SETTINGS join_use_nulls = 1
COMMENT 'One row for every configured store and date heard anywhere. Open but silent = zeros; dark = NULL, coverage 0';

CREATE OR REPLACE VIEW footfall.chain_days
(
    business_date Date COMMENT 'each store''s own local date, turning at its cut-over hour',
    stores_heard UInt64 COMMENT 'stores heard on the date',
    stores_configured UInt64 COMMENT 'stores configured on the date, dark ones included',
    stable_visitors Nullable(UInt64)
        COMMENT 'distinct phones with a visitor visit; under store scope once for each store; NULL = all dark',
    stable_visits Nullable(UInt64) COMMENT 'visitor visits of all stores; NULL = all dark',
    stable_bounced Nullable(UInt64) COMMENT 'presences that entered and left before min_dwell_s; NULL = all dark',
    stable_passers_by Nullable(UInt64) COMMENT 'presences that never entered; NULL = all dark',
    stable_new Nullable(UInt64) COMMENT 'stable_visitors without an earlier visit that counts; NULL = all dark',
    stable_repeat Nullable(UInt64)
        COMMENT 'stable_visitors seen as visitors before, in any store if scope is chain; NULL = all dark',
    repeat_share Nullable(Float64) COMMENT 'stable_repeat / stable_visitors, 0 to 1; NULL = no visitors',
    capture_rate Nullable(Float64) COMMENT 'visits / (visits + bounced + passers-by), 0 to 1; NULL = none of them',
    mean_dwell_s Nullable(Float64) COMMENT 'mean dwell of all visitor visits, seconds; NULL = no visits',
    median_dwell_s Nullable(Float64) COMMENT 'median dwell of all visitor visits, seconds; NULL = no visits',
    coverage Float64 COMMENT 'mean coverage of the configured stores, dark ones included, 0 to 1',
    is_final UInt8 COMMENT '1 = final in every store heard on the date; one that is still dark may add to it',
    stores_calibrated UInt64 COMMENT 'stores that visitors_estimate is the sum of: those heard that have a calibration',
    visitors_estimate Nullable(Float64)
        COMMENT 'people who came to those stores, estimated, in each anew; NULL = no calibration',
    visitors_estimate_lo Nullable(Float64) COMMENT 'lower end of the estimate''s 95 % interval; NULL = no calibration',
    visitors_estimate_hi Nullable(Float64) COMMENT 'upper end of the estimate''s 95 % interval; NULL = no calibration',
    visitors_estimate_method Nullable(String) COMMENT 'estimators and versions, name@version; NULL = no calibration',
    calibration_id Array(String) COMMENT 'calibrations that the estimate rests on, see store_calibrations'
)
AS WITH
    devices AS
    (
        SELECT
            business_date,
            count() AS visitors,
            countIf(last_business_date >= business_date - (SELECT lookback_days FROM footfall.chain)) AS repeat
        FROM
        (
            SELECT
                business_date,
                lagInFrame(toNullable(business_date)) OVER (
                    PARTITION BY device_id, key_epoch ORDER BY business_date
                    ROWS BETWEEN 1 PRECEDING AND CURRENT ROW
                ) AS last_business_date
            FROM footfall.visits
            WHERE role = 'visitor'
        )
        WHERE last_business_date IS NULL OR last_business_date < business_date
        GROUP BY business_date
    ),
    dwell AS
    (
        SELECT
            business_date,
            avgOrNull(dwell_s) AS mean_dwell_s,
            quantileExactInclusiveOrNull(0.5)(dwell_s) AS median_dwell_s
        FROM footfall.visits
        WHERE role = 'visitor'
        GROUP BY business_date
    ),
    stores AS
    (
        SELECT
            business_date,
            countIf(stable_visits IS NOT NULL) AS heard,
            count() AS configured,
            sum(stable_visits) AS visits,
            sum(stable_bounced) AS bounced,
            sum(stable_passers_by) AS passers_by,
            avg(coverage) AS mean_coverage,
            minIf(is_final, stable_visits IS NOT NULL) AS all_final
        FROM footfall.store_days
        GROUP BY business_date
    ),
    -- Stores that share a calibration are wrong together, others independently.
    estimated AS
    (
        SELECT
            business_date,
            sum(stores) AS stores,
            sum(people) AS people,
            sqrt(sum(below * below)) AS below,
            sqrt(sum(above * above)) AS above,
            arrayStringConcat(arraySort(groupUniqArrayArray(methods)), ', ') AS methods,
            arraySort(groupUniqArrayArray(calibrations)) AS calibrations
        FROM
        (
            SELECT
                business_date,
                count() AS stores,
                sum(visitors_estimate) AS people,
                sum(visitors_estimate - visitors_estimate_lo) AS below,
                sum(visitors_estimate_hi - visitors_estimate) AS above,
                groupUniqArray(toString(visitors_estimate_method)) AS methods,
                groupUniqArray(calibration_id) AS calibrations
            FROM footfall.visitor_estimates
            WHERE visitors_estimate IS NOT NULL
            GROUP BY business_date, calibrated_in
        )
        GROUP BY business_date
    )
SELECT
    s.business_date AS business_date,
    s.heard AS stores_heard,
    s.configured AS stores_configured,
    if(s.heard > 0, ifNull(v.visitors, 0), NULL) AS stable_visitors,
    s.visits AS stable_visits,
    s.bounced AS stable_bounced,
    s.passers_by AS stable_passers_by,
    if(s.heard > 0, ifNull(v.visitors - v.repeat, 0), NULL) AS stable_new,
    if(s.heard > 0, ifNull(v.repeat, 0), NULL) AS stable_repeat,
    stable_repeat / nullIf(stable_visitors, 0) AS repeat_share,
    stable_visits / nullIf(stable_visits + stable_bounced + stable_passers_by, 0) AS capture_rate,
    if(s.heard > 0, d.mean_dwell_s, NULL) AS mean_dwell_s,
    if(s.heard > 0, d.median_dwell_s, NULL) AS median_dwell_s,
    s.mean_coverage AS coverage,
    s.all_final AS is_final,
    ifNull(e.stores, 0) AS stores_calibrated,
    e.people AS visitors_estimate,
    e.people - e.below AS visitors_estimate_lo,
    e.people + e.above AS visitors_estimate_hi,
    e.methods AS visitors_estimate_method,
    e.calibrations AS calibration_id
FROM stores AS s
LEFT JOIN devices AS v ON v.business_date = s.business_date
LEFT JOIN dwell AS d ON d.business_date = s.business_date
LEFT JOIN estimated AS e ON e.business_date = s.business_date
SETTINGS join_use_nulls = 1
COMMENT 'The chain by date. Under store scope a device counts once for each store it visited';
