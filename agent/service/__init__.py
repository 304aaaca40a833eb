"""What runs: the loop around the core, its construction from settings, the reader processes and the schedule."""
