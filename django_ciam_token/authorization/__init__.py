"""The authorization endpoint without HTML: what a request asks for, and whether it may have it.

`request` reads a request strictly. `login` says since when who is signed in, and whether that is recent
enough. `consent` remembers what users allowed. `response` carries the answer back to the application.
`logout` is the same for signing out.
"""
