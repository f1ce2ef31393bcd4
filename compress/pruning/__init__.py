"""What pruning works with: masks and scores in a training, structures and what they cost, cutting them out."""
