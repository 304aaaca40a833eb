"""From token log-probabilities to features: entropy profiles, summaries, and responses that arrive in pieces."""
