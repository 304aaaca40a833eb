"""From bytes to events: documents, formats, the rules for listed log-probabilities, and their normalisation."""
