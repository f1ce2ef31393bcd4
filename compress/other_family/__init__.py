"""A student of another family than its teacher's: its body, and what of the teacher's weights it can start from."""
