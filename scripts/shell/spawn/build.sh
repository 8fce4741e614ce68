#!/bin/sh
# A script that brings its workers along: a supervisor of its own, queues, workers, and an end. Nothing is left behind.
# Usage: build.sh [NUMBER]
set -eu
here=$(dirname "$0")
unset SUPERVISOR_SOCKET
export SUPERVISOR_NAME="build-$$"
supervisor run --empty --name "$SUPERVISOR_NAME" --detach >/dev/null
trap 'supervisor shutdown' EXIT

supervisor queue create parts --capacity 10
supervisor queue create assembled
supervisor spawn --name assemble --instances 3 --queue-in parts --queue-out assembled -- "$here/assemble.sh" >/dev/null
supervisor spawn --name order --queue-out parts -- seq "${1:-9}" >/dev/null

# The queues close by themselves: the first when `order` has ended, the second when the last of `assemble` has.
supervisor queue get assembled --lines --follow | awk '{ print } END { print NR " parts" }'
supervisor wait order assemble
