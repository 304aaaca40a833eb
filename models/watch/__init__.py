"""Change detection: drift of signals, and what labels prove about accuracy against a target."""
