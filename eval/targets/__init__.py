"""One target a file: where an artefact runs and is measured."""
