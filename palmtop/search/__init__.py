"""Ahead of training: what students would cost, and the search for one that fits."""
