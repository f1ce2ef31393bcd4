"""The formats of model files, and what each file says of itself."""
