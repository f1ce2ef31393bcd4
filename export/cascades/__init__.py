"""What a cascade settles on the validation texts: a temperature, and a threshold."""
