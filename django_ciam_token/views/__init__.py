"""The HTTP endpoints: parse, authenticate, call, render."""
