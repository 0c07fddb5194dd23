package health

import "golang.org/x/sys/windows"

func room(dir string) (Disk, error) {
	path, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return Disk{}, err
	}
	d := Disk{Inodes: NoLimit}
	return d, windows.GetDiskFreeSpaceEx(path, &d.Free, &d.Size, nil)
}
