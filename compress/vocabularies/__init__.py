"""Tokenizers and embedding rows cut to the tokens that are needed."""
