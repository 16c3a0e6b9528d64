# SPDX-License-Identifier: Apache-2.0
# What the scripts share; sourced, not run. Sets ROOT and goes there; SELF is the script's own path, wherever it was called from.
SELF=$(realpath "$0")
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$ROOT"
JOBS=$(nproc)
export DEBIAN_FRONTEND=noninteractive
# The sanitizers find their symbolizer in the PATH only.
[ ! -d /usr/lib/llvm-19/bin ] || PATH=$PATH:/usr/lib/llvm-19/bin

fail() {
  echo "$(basename "$0"): $*" >&2
  exit 1
}

# Prints the text between the first line of comments behind the SPDX line and the first line without, as help.
help_of() { awk 'NR > 2 { if (!/^#/) exit; sub(/^# ?/, ""); print }' "$1"; }

# build_preset PRESET [TARGET...]: configures if need be, and builds.
build_preset() {
  local preset=$1
  shift
  [ -f "build/$preset/build.ninja" ] || cmake --preset "$preset"
  cmake --build "build/$preset" -j "$JOBS" ${1:+--target "$@"}
}
