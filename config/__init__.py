"""Settings: what a user may set, where it is read from, and what is said when it is wrong."""
