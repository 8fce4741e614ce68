#!/bin/sh
# A worker in sh: a message is a line of standard input, a line of standard output is a message.
# A message is done when the next one is asked for; should this die before, it is delivered again.
set -eu
while IFS= read -r number; do
    echo "$number $((number * number))"
done
