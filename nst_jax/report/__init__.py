"""Results as pictures and as a page."""
