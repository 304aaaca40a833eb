"""Labels without people: probes, whose answers a program checks, and judges, which are models."""
