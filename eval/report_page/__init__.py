"""The page of `palmtop report`: a file for each subject, and what they are written with."""
