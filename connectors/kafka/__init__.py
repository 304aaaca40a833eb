"""Apache Kafka as a source and as a sink. Only this package imports the Kafka client."""
