"""Labels of other tools: from their records to label events."""
