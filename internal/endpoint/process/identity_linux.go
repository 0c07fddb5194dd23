package process

import (
	"fmt"
	"os"
	"strings"
)

// Identity tells one process from all others that ever had, or will have, its number on this host: boot, start time and
// number. It is "" where the system does not tell, and when there is no such process.
func Identity(pid int) string {
	const startTime = 19 // of the fields after the command's name
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if len(fields) <= startTime || fields[0] == "Z" {
		return ""
	}
	return fmt.Sprintf("%s/%s/%d", strings.TrimSpace(string(boot)), fields[startTime], pid)
}
