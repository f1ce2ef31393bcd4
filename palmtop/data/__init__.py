"""Rows of a data set, and texts as token ids."""
