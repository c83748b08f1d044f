#!/usr/bin/env bash
# Builds the wheel and the sdist, and tries them as users have them: each in a clean environment of
# each Python that is named (python3.11 and python3.13 if none is), outside the checkout.
#   scripts/packages.sh [PYTHON ...]
# KINDS="whl tar.gz" are the files that are tried, TESTS the words of pytest.
set -euo pipefail
cd "$(dirname "$0")/.."
(($#)) || set -- python3.11 python3.13
kinds=${KINDS:-whl tar.gz}
tests=${TESTS:--n 2 --dist worksteal -m "'not slow'"}
where=$(mktemp -d)
trap 'rm -rf "$where"' EXIT
"$1" -m venv "$where/build"
"$where/build/bin/pip" install -q build
"$where/build/bin/python" -m build -o "$where/dist" .
export NST_JAX_OFFLINE=1 NST_JAX_WEIGHTS=$where/weights  # the network that is installed
for python; do
    for kind in $kinds; do
        echo "+ $python, $kind"
        rm -rf "$where/run"
        mkdir "$where/run"
        "$python" -m venv "$where/run/venv"
        file=$(echo "$where"/dist/*."$kind")
        "$where/run/venv/bin/pip" install -q "nst-jax[test] @ file://$file"
        tar xzf "$where"/dist/*.tar.gz -C "$where/run" --strip-components 1
        (
            cd "$where/run"
            rm -r nst_jax  # what is installed is what is tried
            ln -s venv/lib/python*/site-packages/nst_jax .
            export PATH=$PWD/venv/bin:$PATH
            nst-jax --version
            nst-jax demo
            eval pytest "$tests"
        )
    done
done
