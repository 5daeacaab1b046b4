"""What error trackers and log formatters send when a function of the site raises."""
