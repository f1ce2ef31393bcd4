"""Ahead of training: what students would cost."""
