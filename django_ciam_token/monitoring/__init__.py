"""What operators look at: the audit trail, and figures that stay cheap at any size."""
