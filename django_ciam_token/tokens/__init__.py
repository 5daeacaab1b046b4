"""Tokens: what they say, issuing them, and judging those that come back."""
