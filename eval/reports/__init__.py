"""Tables, verdicts and charts from measurements."""
