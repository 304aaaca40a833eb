"""Labels that come back from annotation tools by themselves: webhooks, and reconciliation by polling."""
