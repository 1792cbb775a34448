"""The stream processor: sightings into visits and per-minute store counters."""
