"""How a student is compared with its teacher layer by layer, and trained on it."""
