"""Wire formats, one file per family of servers: what they send, turned into events."""
