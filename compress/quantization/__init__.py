"""Training with rounded weights and activations, on the grid that the exported file will have."""
