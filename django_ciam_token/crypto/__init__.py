"""Cryptography: JWTs, the keys derived from the site's secrets, the refresh token string. No models."""
