"""The cluster that is an Apache Kafka: the same commands, through librdkafka, which an optional package brings."""
