"""Everything that touches the Kafka client: connection, consumer, transactions, topics. Nothing else imports it."""
