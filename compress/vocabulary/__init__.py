"""Fewer tokens: a smaller vocabulary that segments the task's texts the same way."""
