"""The version of palmtop."""

VERSION = "0.1.0"
