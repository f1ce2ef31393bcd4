"""ALBERT out of a trained model: narrow embeddings, layers that share weights, and how well they fit."""
