"""The servers that are compared: each is a package with settings, URLs and code that fills its database."""
