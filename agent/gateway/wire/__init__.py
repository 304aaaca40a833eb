"""What the gateway does to requests and answers, as pure functions of their bytes.

`plan` decides what happens to a request and asks for log-probabilities in its bytes, `strip` takes them out of the
answer again, and `collect` makes a generation event of them. No module here knows sockets, clocks, settings or Kafka.
"""
