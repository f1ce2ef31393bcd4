"""The room of making models smaller: torch bundle in, torch bundle out, one method a file."""

if __name__ != "palmtop.compress":
    raise ImportError(
        "this folder is the package palmtop.compress: write 'import palmtop.compress' (and install with 'pip install "
        "-e .')"
    )
