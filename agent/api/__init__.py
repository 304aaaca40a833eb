"""The HTTP API and the dashboard: what a store holds, asked and seen; labels and events by HTTP."""
