"""Other packages, one module each; loaded only by sites that have the package installed."""
