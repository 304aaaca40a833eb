"""Settings: their names and bounds, the sources they are read from, and the errors of wrong settings."""
