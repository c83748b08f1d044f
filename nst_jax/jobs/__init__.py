"""From files to files: where images and weights meet the descent, and results their records."""
