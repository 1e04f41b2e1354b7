#!/usr/bin/env bash
# The whole pipeline, as short as it gets: `make demo` and `treecot demo` do the same. Arguments: treecot demo --help.
set -euo pipefail
cd "$(dirname "$0")/.."
exec treecot demo "$@"
