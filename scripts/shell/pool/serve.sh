#!/bin/sh
# One order of a pool that serves three at a time. An order that fails is tried twice more, then it is a dead letter.
# It may have been tried before, by one who died on the way: $SUPERVISOR_DELIVERIES says how often.
set -eu
what=${SUPERVISOR_MESSAGE% *} count=${SUPERVISOR_MESSAGE##* }
if [ "$count" -eq 0 ]; then
    echo "try $SUPERVISOR_DELIVERIES of $what: nothing ordered" >&2
    exit 1
fi
echo "served $count $what"
