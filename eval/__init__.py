"""The room of measuring: numbers about bundles, taken in each artefact's own runtime."""

if __name__ != "palmtop.eval":
    raise ImportError(
        "this folder is the package palmtop.eval: write 'import palmtop.eval' (and install with 'pip install -e .')"
    )
