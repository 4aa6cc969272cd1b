"""A real Apache Kafka for tests and benchmarks: its jars, processes of it, and one that the tests of a run share."""
