"""The edge: hears phones, pseudonymises at the antenna, counts per minute, pushes batches to Kafka."""
