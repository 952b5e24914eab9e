#!/bin/sh
# Prints the path of the interpreter for .venv: $PYTHON if set, else the first of the names below that runs.
# Python 3.12 and 3.11 come before newer ones because the embedded server has wheels for these two only.
set -eu

# Runs `name` (a pyenv shim may exist and yet not run) and prints its path if it is at least Python 3.11.
path_if_new_enough() {
  "$1" -c 'import sys; sys.version_info >= (3, 11) or sys.exit(1); print(sys.executable)' 2>/dev/null
}

if [ -n "${PYTHON:-}" ]; then
  path_if_new_enough "$PYTHON" && exit 0
  echo "make: PYTHON=$PYTHON is not Python 3.11 or later (give the path of one)" >&2
  exit 1
fi
for name in python3.12 python3.11 python3 python; do
  path_if_new_enough "$name" && exit 0
done
for name in python3.14 python3.13; do
  path_if_new_enough "$name" && exit 0
done
echo "make: no Python 3.11 or later on PATH (install one, or: make PYTHON=/path/to/python3.11 ...)" >&2
exit 1
