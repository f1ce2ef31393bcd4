"""A student that learns from a teacher: answers, features, layers."""
