"""The .tflite file itself: any length, packing, metadata, older runtimes."""
