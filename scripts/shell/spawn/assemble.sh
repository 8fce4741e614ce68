#!/bin/sh
# A part a line, in and out.
set -eu
while read -r part; do
    echo "part $part by number $SUPERVISOR_INSTANCE"
done
