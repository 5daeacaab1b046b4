"""What all parts of the service need from a database: retries, one clock, and SQL that is compiled once."""
