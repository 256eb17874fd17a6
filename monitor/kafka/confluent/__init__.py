"""confluent-kafka, which has librdkafka in it, behind the port: the quicker client, of the extra `librdkafka`."""
