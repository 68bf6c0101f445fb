#!/bin/sh
# Install what a window needs, as root on Debian; otherwise say the line to type.
# Usage: system-libraries.sh PYTHON PACKAGE…
set -eu
python=$1
shift
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "Needs Python 3.11 or newer, found: $("$python" --version). Use: make PYTHON=/path/to/python3.11" >&2
    exit 1
}
"$python" -c 'import ensurepip, venv' 2>/dev/null || set -- "$@" python3-venv
command -v dpkg-query >/dev/null 2>&1 || exit 0 # another system: its own packages serve
missing=""
for package in "$@"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" = 0 ]; then
    echo "Installing:$missing"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
else
    echo "A window needs system libraries that are not here. Type this, then make again:" >&2
    echo "  sudo apt-get update && sudo apt-get install -y --no-install-recommends$missing" >&2
    exit 1
fi
