"""palmtop: make a large text transformer small, put it on a phone or a web page, measure what it costs and keeps."""

__version__ = "0.1.0"
