"""The servers that are compared: each a package with its settings, its URLs and what fills its database."""
