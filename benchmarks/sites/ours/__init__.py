"""Our own server."""
