"""Whether a device's tokenizer gives the ids that training used."""
