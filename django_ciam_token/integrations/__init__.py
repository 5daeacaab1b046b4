"""Integration with other packages, one module for each; loaded only if the site has the package installed."""
