"""Faults under load: whatever dies between a client and its database, who retries is still signed in.

``python -m tests.faults`` runs real gunicorn workers on real databases, lets many clients refresh in
chains, breaks things meanwhile, and prints one table.

    __main__, test_faults
    campaign  table
    faults
    stage
    chains  verifiers
    site  proxy  wire
    servers
    processes
"""
