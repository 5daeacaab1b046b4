"""The token service of a customer-identity (CIAM) portal as a reusable Django app."""

__version__ = "0.1.0"
