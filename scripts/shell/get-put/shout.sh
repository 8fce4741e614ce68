#!/bin/sh
# A worker in sh that asks its queues itself: for messages that are no lines, or that it decides about one by one.
# Usage: shout.sh FROM TO
# `get` acknowledges what it has printed. Where a message must outlive the death of whoever works on it, see ../pool.
set -eu
while :; do
    word=$(supervisor queue get "$1") || {
        code=$?
        [ "$code" -eq 8 ] && exit 0 # closed and drained: the work is done
        exit "$code"
    }
    printf %s "$word" | tr '[:lower:]' '[:upper:]' | supervisor queue put "$2"
done
