package agent

import (
	"bufio"
	"bytes"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/firebreak-dev/firebreak/api"
)

// Describe tells what the host says of itself, and the id of its current boot.
func Describe() (api.Attributes, string) {
	var a api.Attributes
	if release, err := os.ReadFile("/etc/os-release"); err == nil {
		a.OS, a.Version = osRelease(release)
	}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		a.Kernel, a.Arch = unix.ByteSliceToString(u.Release[:]), unix.ByteSliceToString(u.Machine[:])
	}
	boot, _ := os.ReadFile("/proc/sys/kernel/random/boot_id") // without it boots are not counted
	return a, strings.TrimSpace(string(boot))
}

// osRelease reads the two fields that matter of an os-release file.
func osRelease(data []byte) (name, version string) {
	for lines := bufio.NewScanner(bytes.NewReader(data)); lines.Scan(); {
		key, value, _ := strings.Cut(lines.Text(), "=")
		switch value = strings.Trim(value, `"'`); key {
		case "ID":
			name = value
		case "VERSION_ID":
			version = value
		}
	}
	return name, version
}
