"""The outside world: Kafka, files, the store, and the decoders and encoders between bytes and events."""
