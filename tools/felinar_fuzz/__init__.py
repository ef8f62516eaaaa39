"""Coverage-guided fuzzing of the wire: what bytes of any kind must do to each decoder, and the search for some that don't."""
