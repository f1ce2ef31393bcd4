"""Recipes: read and checked as a whole, then run."""
