-- What people query. Newest versions only, withdrawn rows gone, codes as names.

CREATE OR REPLACE VIEW footfall.visits AS
SELECT
    visit_id, store_id, device_id, key_epoch, first_seen_at, last_seen_at, entered_at, left_at, dwell_s, sightings,
    rssi_max_dbm,
    CAST(address_class, 'Enum8(''global'' = 1, ''associated'' = 2)') AS address_class,
    CAST(role, 'Enum8(''passer_by'' = 1, ''bounced'' = 2, ''visitor'' = 3, ''staff_or_fixed'' = 4)') AS role,
    engaged, business_date, rule_version, version
FROM footfall.visits_log FINAL
WHERE deleted = 0
COMMENT 'Closed visits of phones with stable addresses, one row each';

CREATE OR REPLACE VIEW footfall.store_minutes AS
SELECT store_id, minute, business_date, sensors_live, present, entries, exits, passers_by, is_final, version
FROM footfall.store_minutes_log FINAL
WHERE sensors_live + present + entries + exits + passers_by > 0
COMMENT 'What the stable sample did in each minute of each store; no row = no sensor was heard';

CREATE OR REPLACE VIEW footfall.sensor_minutes AS
SELECT
    store_id,
    sensor_id,
    minute,
    any(business_date) AS business_date,
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
GROUP BY store_id, sensor_id, minute
COMMENT 'What each sensor heard in each minute, all its boots together; counts only';

CREATE OR REPLACE VIEW footfall.visitor_days AS
SELECT
    store_id,
    business_date,
    key_epoch,
    device_id,
    lagInFrame(toNullable(business_date), 1, NULL) OVER (
        PARTITION BY store_id, key_epoch, device_id ORDER BY business_date
        ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING
    ) AS last_business_date
FROM (SELECT DISTINCT store_id, business_date, key_epoch, device_id FROM footfall.visits WHERE role = 'visitor')
COMMENT 'Each device with a visitor visit at a store on a date, and the date of its visitor visit before that';

CREATE OR REPLACE VIEW footfall.store_days AS
WITH
    days AS
    (
        SELECT store_id, sensors, lookback_days, first_date + number AS business_date
        FROM footfall.stores
        CROSS JOIN
        (
            SELECT min(business_date) AS first_date, max(business_date) AS last_date, count() AS heard
            FROM footfall.sensor_minutes_log
        ) AS span
        CROSS JOIN numbers(4000) AS n
        WHERE span.heard > 0 AND first_date + number <= last_date
    ),
    met AS
    (
        SELECT
            store_id,
            business_date,
            countIf(role = 'visitor') AS visitor_visits,
            countIf(role = 'bounced') AS bounced,
            countIf(role = 'passer_by') AS passers_by,
            countIf(engaged) AS engaged_visits,
            avgOrNullIf(dwell_s, role = 'visitor') AS mean_dwell,
            quantileExactInclusiveOrNullIf(0.5)(dwell_s, role = 'visitor') AS median_dwell
        FROM footfall.visits
        GROUP BY store_id, business_date
    ),
    devices AS
    (
        SELECT
            v.store_id AS store_id,
            v.business_date AS business_date,
            count() AS visitors,
            countIf(v.last_business_date IS NOT NULL AND v.last_business_date >= v.business_date - s.lookback_days) AS repeat
        FROM footfall.visitor_days AS v
        INNER JOIN footfall.stores AS s ON s.store_id = v.store_id
        GROUP BY v.store_id, v.business_date
    ),
    radio AS
    (
        SELECT store_id, business_date, sum(listening_s) AS listened_s
        FROM footfall.sensor_minutes_log FINAL
        GROUP BY store_id, business_date
    ),
    minutes AS
    (
        SELECT store_id, business_date, min(is_final) AS final
        FROM footfall.store_minutes
        GROUP BY store_id, business_date
    )
SELECT
    d.store_id AS store_id,
    d.business_date AS business_date,
    if(r.listened_s > 0, ifNull(v.visitors, 0), NULL) AS stable_visitors,
    if(r.listened_s > 0, ifNull(m.visitor_visits, 0), NULL) AS stable_visits,
    if(r.listened_s > 0, ifNull(m.bounced, 0), NULL) AS stable_bounced,
    if(r.listened_s > 0, ifNull(m.passers_by, 0), NULL) AS stable_passers_by,
    if(r.listened_s > 0, ifNull(m.engaged_visits, 0), NULL) AS stable_engaged,
    if(r.listened_s > 0, ifNull(v.visitors, 0) - ifNull(v.repeat, 0), NULL) AS stable_new,
    if(r.listened_s > 0, ifNull(v.repeat, 0), NULL) AS stable_repeat,
    if(v.visitors > 0, v.repeat / v.visitors, NULL) AS repeat_share,
    if(m.visitor_visits + m.bounced + m.passers_by > 0,
       m.visitor_visits / (m.visitor_visits + m.bounced + m.passers_by), NULL) AS capture_rate,
    m.mean_dwell AS mean_dwell_s,
    m.median_dwell AS median_dwell_s,
    ifNull(r.listened_s, 0) / (d.sensors * 86400) AS coverage,
    toUInt8(ifNull(f.final, 0)) AS is_final,
    CAST(NULL, 'Nullable(Float64)') AS visitors_estimate,
    CAST(NULL, 'Nullable(Float64)') AS visitors_estimate_lo,
    CAST(NULL, 'Nullable(Float64)') AS visitors_estimate_hi
FROM days AS d
LEFT JOIN met AS m ON m.store_id = d.store_id AND m.business_date = d.business_date
LEFT JOIN devices AS v ON v.store_id = d.store_id AND v.business_date = d.business_date
LEFT JOIN radio AS r ON r.store_id = d.store_id AND r.business_date = d.business_date
LEFT JOIN minutes AS f ON f.store_id = d.store_id AND f.business_date = d.business_date
SETTINGS join_use_nulls = 1
COMMENT 'One row for every configured store and date heard anywhere. Open but silent = zeros; dark = NULL, coverage 0';

CREATE OR REPLACE VIEW footfall.chain_days AS
WITH
    devices AS
    (
        SELECT
            business_date,
            count() AS visitors,
            countIf(last_date IS NOT NULL AND last_date >= business_date - 30) AS repeat
        FROM
        (
            SELECT
                business_date,
                lagInFrame(toNullable(business_date), 1, NULL) OVER (
                    PARTITION BY key_epoch, device_id ORDER BY business_date
                    ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING
                ) AS last_date
            FROM (SELECT DISTINCT business_date, key_epoch, device_id FROM footfall.visits WHERE role = 'visitor')
        )
        GROUP BY business_date
    ),
    dwell AS
    (
        SELECT
            business_date,
            avgOrNull(dwell_s) AS mean_dwell,
            quantileExactInclusiveOrNull(0.5)(dwell_s) AS median_dwell
        FROM footfall.visits
        WHERE role = 'visitor'
        GROUP BY business_date
    ),
    stores AS
    (
        SELECT
            business_date,
            countIf(coverage > 0) AS stores_heard,
            count() AS stores_configured,
            sum(stable_visits) AS visits,
            sum(stable_bounced) AS bounced,
            sum(stable_passers_by) AS passers_by,
            avg(coverage) AS mean_coverage,
            minIf(is_final, coverage > 0) AS final
        FROM footfall.store_days
        GROUP BY business_date
    )
SELECT
    s.business_date AS business_date,
    s.stores_heard AS stores_heard,
    s.stores_configured AS stores_configured,
    toUInt64(ifNull(v.visitors, 0)) AS stable_visitors,
    s.visits AS stable_visits,
    s.bounced AS stable_bounced,
    s.passers_by AS stable_passers_by,
    toUInt64(ifNull(v.visitors, 0) - ifNull(v.repeat, 0)) AS stable_new,
    toUInt64(ifNull(v.repeat, 0)) AS stable_repeat,
    if(v.visitors > 0, v.repeat / v.visitors, NULL) AS repeat_share,
    if(s.visits + s.bounced + s.passers_by > 0, s.visits / (s.visits + s.bounced + s.passers_by), NULL) AS capture_rate,
    d.mean_dwell AS mean_dwell_s,
    d.median_dwell AS median_dwell_s,
    s.mean_coverage AS coverage,
    s.final AS is_final,
    CAST(NULL, 'Nullable(Float64)') AS visitors_estimate,
    CAST(NULL, 'Nullable(Float64)') AS visitors_estimate_lo,
    CAST(NULL, 'Nullable(Float64)') AS visitors_estimate_hi
FROM stores AS s
LEFT JOIN devices AS v ON v.business_date = s.business_date
LEFT JOIN dwell AS d ON d.business_date = s.business_date
SETTINGS join_use_nulls = 1
COMMENT 'The chain by date. Under store scope a device counts once for each store it visited';
