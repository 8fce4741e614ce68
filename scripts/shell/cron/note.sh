#!/bin/sh
# What is done again and again: it does its work once and ends; when it is due next, the config's "schedule" says.
# A run that fails or takes long is seen as such (`supervisor status`, `why`), and two never run at the same time.
set -eu
echo "$(date +%H:%M:%S) note $SUPERVISOR_LAUNCH" >>"$1"
