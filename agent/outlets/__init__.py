"""What people and other systems look at: metrics, the HTTP server, reports and tables."""
