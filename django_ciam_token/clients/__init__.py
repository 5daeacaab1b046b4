"""Clients: registering them, their secrets, and how a request proves which client sent it."""
