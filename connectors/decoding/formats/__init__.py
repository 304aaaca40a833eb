"""Wire formats: one module per family of servers turns what it sends into payloads."""
