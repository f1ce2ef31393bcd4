"""Families of transformers: one file each, named like its model_type ('-' is '_'), that holds `FAMILY` and nothing that
runs."""
