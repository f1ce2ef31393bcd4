"""ALBERT's two savings: a factorized word embedding, and layers that share weights."""
