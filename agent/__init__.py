"""The service: the main line (`pipeline`), the loop around it, and everything a person starts or reads."""
