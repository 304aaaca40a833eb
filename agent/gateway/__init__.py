"""The capture gateway: a proxy in front of a model server that turns answers into events."""
