"""Sessions: begun once, rotated again and again, revoked at last.

Every write is one statement that names the state it expects, so that no other request can slip in
between a check and a write.
"""
