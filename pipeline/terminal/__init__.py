"""Results as tables for a terminal of 80 columns; one file for each kind of result."""
