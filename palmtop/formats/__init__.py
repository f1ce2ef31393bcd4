"""The formats of model files: one file a format, which is data alone, and beside them what takes their files apart
(read_...)."""
