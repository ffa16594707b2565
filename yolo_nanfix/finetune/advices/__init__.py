"""Units of advice: one module each."""
