"""Code against real PostgreSQL and Valkey; every test gets a database cloned from the migrated template."""
