-- The logs no longer keep the tokens of inserts: killed within one, ClickHouse may keep its token and not its rows, and
-- would drop them when they come again. What is inserted twice is one row to the views, which read with FINAL.

ALTER TABLE footfall.visits_log MODIFY SETTING non_replicated_deduplication_window = 0;
ALTER TABLE footfall.store_minutes_log MODIFY SETTING non_replicated_deduplication_window = 0;
ALTER TABLE footfall.sensor_minutes_log MODIFY SETTING non_replicated_deduplication_window = 0;
