"""Learning from plain text: settings, sequences with hidden words, losses over a vocabulary."""
