"""Training: settings, rows in memory, the loop, and what goes in and out of it."""
