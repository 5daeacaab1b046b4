"""How fast a refresh is, beside other packages and beside what it would cost without any of them.

``python -m benchmarks --help``; `admin_pages.py` is a program of its own.
"""
