"""The demo: recorded traffic through the whole agent, in one process or over a real Apache Kafka."""
