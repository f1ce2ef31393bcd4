"""app: one of the exported formats with all that an app needs beside it; it is asked in the format of the model in
it."""

from palmtop.format import FileFormat

FORMAT = FileFormat(
    name="app",
    beside=(),  # vocabulary and labels are in the .tflite that a target runs as an app
)
