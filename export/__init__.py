"""The room of leaving torch: one format a file, each checked against torch in its own runtime."""

if __name__ != "palmtop.export":
    raise ImportError(
        "this folder is the package palmtop.export: write 'import palmtop.export' (and install with 'pip install -e .')"
    )
