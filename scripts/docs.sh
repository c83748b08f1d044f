#!/usr/bin/env bash
# Builds the documentation's pages into site/ (extra `docs`); a warning is an error.
set -euo pipefail
cd "$(dirname "$0")/.."
python -m sphinx -W --keep-going -q -b html docs site
echo "wrote site/index.html"
