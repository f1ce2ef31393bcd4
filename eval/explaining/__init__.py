"""What a bundle is made of, and what a runtime will refuse of it."""
