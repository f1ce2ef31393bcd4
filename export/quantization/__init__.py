"""Integers for exported files: schemes, calibration, which layers bear them."""
