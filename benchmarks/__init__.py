"""How fast a refresh is, compared with other packages and with what it would cost without any of them.

``python -m benchmarks --help``; `admin_pages.py` is a program of its own.
"""
