"""Bad input in large amounts: no answer of 500 or more, no token issued, no session changed.

``CIAM_FUZZ_INPUTS`` is the total number of inputs. The seed is fixed unless ``CIAM_FUZZ_SEED`` sets another.
"""
