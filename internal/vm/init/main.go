//go:build linux

// Command init is the first process of the tiny virtual machines: an initramfs that runs the boot guard as a real one does, and then a
// host that loads content. What the content does to the host it says itself.
//
// The kernel's command line chooses: vm.mode=boot (boot and bless), or vm.mode=churn (switch and go back until the power is cut).
package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

const (
	root    = "/root"
	program = "/usr/lib/firebreak/firebreak-guard"
	state   = "/var/lib/firebreak-guard/state"
	content = "/var/lib/firebreak-agent/components/sensor-content/current/rules"
)

func main() {
	if err := run(); err != nil {
		say("init: %v", err)
	}
	syscall.Sync()
	_ = syscall.Reboot(syscall.LINUX_REBOOT_CMD_POWER_OFF)
}

// say writes a line to the console, which the test reads.
func say(format string, args ...any) {
	_, _ = fmt.Fprintf(os.Stdout, "vm: "+format+"\n", args...)
}

func run() error {
	if err := prepare(); err != nil {
		return err
	}
	say("init")
	mode := option("vm.mode")
	if mode == "churn" {
		return churn(root)
	}
	// Stage 1, as in an initramfs: the root is mounted, and nothing of it runs yet.
	if option("vm.disk") == "full" {
		if err := solid(root + state); err != nil {
			return err
		}
		fill(root)
	}
	start("stage 1", "/firebreak-guard", "boot", "--stage", "1", "--root", root)
	if err := writable(); err != nil {
		return err
	}
	if err := enter(); err != nil {
		return err
	}
	start("stage 2", program, "boot", "--stage", "2")
	if err := load(); err != nil {
		return err
	}
	start("bless", program, "bless", "--wait", "0s")
	start("status", program, "status")
	say("up")
	return syscall.Mount("", "/", "", syscall.MS_REMOUNT|syscall.MS_RDONLY, "")
}

// option is the value of a word on the kernel's command line.
func option(name string) string {
	line, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return ""
	}
	for word := range strings.FieldsSeq(string(line)) {
		if value, found := strings.CutPrefix(word, name+"="); found {
			return value
		}
	}
	return ""
}

// prepare does what every initramfs does: kernel file systems, drivers, the disk.
func prepare() error {
	err := errors.Join(
		mount("devtmpfs", "/dev", "devtmpfs"), mount("proc", "/proc", "proc"), mount("sysfs", "/sys", "sysfs"), mount("tmpfs", "/run", "tmpfs"),
		drivers())
	if err != nil {
		return err
	}
	flags := uintptr(0)
	if option("vm.root") == "ro" {
		flags = syscall.MS_RDONLY
	}
	if err = syscall.Mount("/dev/vda", root, "ext4", flags, "errors=remount-ro"); err != nil {
		return fmt.Errorf("mount the disk: %w", err)
	}
	return nil
}

func mount(what, where, kind string) error {
	if err := os.MkdirAll(where, 0o755); err != nil { //nolint:gosec // G301: mount points are for everybody
		return err
	}
	if err := syscall.Mount(what, where, kind, 0, ""); err != nil && !errors.Is(err, syscall.EBUSY) {
		return fmt.Errorf("mount %s: %w", where, err)
	}
	return nil
}

// drivers loads the modules of the initramfs in the order of their names.
func drivers() error {
	files, err := filepath.Glob("/modules/*.ko")
	if err != nil {
		return err
	}
	for _, name := range files {
		if err = insert(name); err != nil {
			return fmt.Errorf("load %s: %w", name, err)
		}
	}
	return nil
}

// solid gives a file the blocks that it had before the tools that made this disk left out those of zeros.
func solid(name string) error {
	data, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	file, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	return errors.Join(err, file.Sync(), file.Close())
}

// fill leaves no inode and no block on a file system.
func fill(dir string) {
	made := 0
	for err := error(nil); err == nil; made++ {
		err = os.WriteFile(filepath.Join(dir, fmt.Sprintf("ballast-%d", made)), nil, 0o600)
	}
	file, err := os.OpenFile(filepath.Join(dir, "ballast-0"), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		say("init: fill the disk: %v", err)
		return
	}
	for chunk := make([]byte, 64<<10); len(chunk) > 0; {
		if _, err = file.Write(chunk); err != nil {
			chunk = chunk[:len(chunk)/2]
		}
	}
	say("the disk is full: %v", errors.Join(err, file.Sync(), file.Close()))
}

// writable mounts the root as the host uses it. The guard must have left it as it was.
func writable() error {
	var s syscall.Statfs_t
	if err := syscall.Statfs(root, &s); err != nil {
		return err
	}
	if s.Flags&syscall.MS_RDONLY == 0 {
		return nil
	}
	say("root is read-only again")
	return syscall.Mount("", root, "", syscall.MS_REMOUNT, "")
}

// enter makes the disk the root, as switch_root does.
func enter() error {
	for _, dir := range []string{"/dev", "/proc", "/sys", "/run"} {
		if err := os.MkdirAll(root+dir, 0o755); err != nil && !errors.Is(err, syscall.EROFS) { //nolint:gosec // G301: as on any host
			say("init: %v", err)
		}
		if err := syscall.Mount(dir, root+dir, "", syscall.MS_MOVE, ""); err != nil {
			return fmt.Errorf("move %s: %w", dir, err)
		}
	}
	if err := os.Chdir(root); err != nil {
		return err
	}
	return errors.Join(syscall.Mount(".", "/", "", syscall.MS_MOVE, ""), syscall.Chroot("."), os.Chdir("/"))
}

// start runs a program and says how it ended. What it does wrong stops nothing here, as on a host.
func start(name, file string, args ...string) {
	var out bytes.Buffer
	cmd := exec.Command(file, args...) //nolint:gosec,noctx // G204: the guard; it has a deadline of its own, which is what is tested
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	for line := range strings.Lines(out.String()) {
		say("%s: %s", name, strings.TrimSuffix(line, "\n"))
	}
	if err != nil {
		say("%s: ended with %v", name, err)
	}
}

// load is the consumer: a driver that reads its content early in the boot. Bad content takes the kernel with it.
func load() error {
	if _, err := os.Stat("/run/firebreak/safe-mode"); err == nil {
		say("safe mode: no content is loaded")
		return nil
	}
	rules, err := os.ReadFile(content)
	if err != nil {
		say("no content: %v", err)
		return nil
	}
	say("loading %q", strings.TrimSpace(string(rules)))
	if !bytes.Contains(rules, []byte("bad")) {
		return nil
	}
	trigger, err := os.OpenFile("/proc/sysrq-trigger", os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = io.WriteString(trigger, "c")
	return err
}
