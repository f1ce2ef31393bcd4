"""Pruning: single weights, heads and neurons, whole layers, and what is left when they are gone."""
