"""What every part of the service needs from a database: repetition, one clock, statements compiled once."""
