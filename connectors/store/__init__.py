"""The store: tables, transactions, migrations, retention and queries, on SQLite or PostgreSQL."""
