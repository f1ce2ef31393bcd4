"""A TensorFlow.js graph model, written from the exported graph."""
