"""Every order of two requests: two operations, one statement at a time, in all orders that can differ."""
