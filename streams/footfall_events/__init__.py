"""The contract between the stages: schemas, topics, errors, store configuration. Knows no framework."""
