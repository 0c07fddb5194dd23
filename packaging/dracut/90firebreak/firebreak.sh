#!/bin/sh
# First stage of the boot guard. It is sourced: whatever the guard meets, the boot goes on.
/sbin/firebreak-guard boot --stage 1 --root "${NEWROOT:-/sysroot}" || :
