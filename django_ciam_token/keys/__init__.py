"""Signing keys: their life cycle in the database, and the copy that each process keeps."""
