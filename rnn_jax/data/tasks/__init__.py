"""Generated tasks that take a long memory."""
