"""Measuring: what is measured of which bundle, and each number of it."""
