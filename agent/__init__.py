"""The agent: the pure core, the service that runs it, what people see of it, and the commands that start it."""
