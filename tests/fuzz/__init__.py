"""Bad input at volume: no answer of 500 or more, no token issued, no session changed.

``CIAM_FUZZ_INPUTS`` says how many inputs there are in all; the seed is fixed unless ``CIAM_FUZZ_SEED`` says
another.
"""
