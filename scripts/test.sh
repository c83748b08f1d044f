#!/usr/bin/env bash
# What the README's second command and continuous integration run: lint, format, types, tests.
set -euo pipefail
cd "$(dirname "$0")/.."
ruff check .
ruff format --check .
pyright nst_jax
pytest -n 2 --dist worksteal
