"""Signing keys: their life in the database, and each process's copy of them."""
