"""The sink: Kafka topics into ClickHouse, exactly once by insert, then commit."""
