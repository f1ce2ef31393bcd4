"""The exported graph: tracing it, and the passes that clean it."""
