// Package bench measures what the control plane promises, on whole servers over loopback, and prints one line for each figure:
// name, value, unit. Ratios are taken within one run, because machines are noisy. `make bench` runs it at full size; plain tests
// run small sizes and hold only what does not depend on the machine.
package bench
