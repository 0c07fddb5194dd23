#!/bin/bash
# Puts the boot guard into an initramfs made by dracut, to run when the root is mounted and nothing of it runs yet.

check() {
	[ -x "${dracutsysrootdir-}/usr/lib/firebreak/firebreak-guard" ]
}

depends() {
	echo base
}

install() {
	inst_simple /usr/lib/firebreak/firebreak-guard /sbin/firebreak-guard
	inst_hook pre-pivot 50 "${moddir:?}/firebreak.sh"
}
