"""Students without transformer layers: token vectors, and the linear floor."""
