"""Compare clinder with the alternatives: ``make bench``."""
