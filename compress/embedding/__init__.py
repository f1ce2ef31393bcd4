"""What is done to sentence embeddings alone."""
