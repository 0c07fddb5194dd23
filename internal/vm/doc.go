// Package vm has no code of its own: its tests boot virtual machines, one qemu process a boot, and look at their disks in between.
//
// Each needs the flag -vm and what scripts/vm/setup fetched; without the flag they are skipped. `-vm tiny` runs the proof that belongs to
// `make test`: Debian's kernel, a disk, and as first process the program in init, which runs the real boot guard and then does what
// content does to a host. `-vm full` adds whole Debian systems with systemd, a real agent and a real control plane on this machine.
// scripts/vm/tiny and scripts/vm/e2e run them. Nothing here ever needs or tries hardware virtualisation.
package vm
