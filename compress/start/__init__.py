"""Where a chain starts: a Hugging Face folder adopted, and fine-tuned on the task."""
