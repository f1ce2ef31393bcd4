"""Learning from running text: masked and next tokens, from plain words or from a teacher."""
