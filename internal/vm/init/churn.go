//go:build linux

package main

import (
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/bootguard"
	"github.com/firebreak-dev/firebreak/internal/endpoint/disk"
	"github.com/firebreak-dev/firebreak/internal/endpoint/guard"
	"github.com/firebreak-dev/firebreak/internal/endpoint/slots"
)

// churn activates one slot and then the other, as the agent does it and with its packages, until somebody cuts the power: tell the guard,
// switch, tell it that all is well.
func churn(root string) error {
	const name, dir = "sensor-content", "/var/lib/firebreak-agent/components/sensor-content"
	book, err := guard.Open(disk.OS{}, root+"/var/lib/firebreak-guard")
	if err != nil {
		return err
	}
	d := slots.Dir{FS: disk.OS{}, Path: root + dir}
	all, err := d.List()
	if err != nil {
		return err
	}
	was, err := d.Target(slots.Current)
	if err != nil {
		return err
	}
	say("churn")
	for n := 0; ; n++ {
		to := all[n%len(all)]
		if to == was {
			continue
		}
		e := bootguard.Entry{
			Component: name, Kind: "content", Dir: dir, Current: string(to), Good: string(was), Pending: true, At: time.Unix(int64(n), 0).UTC(),
		}
		if err = book.Sync([]bootguard.Entry{e}); err != nil {
			return err
		}
		if err = d.Switch(to, was); err != nil {
			return err
		}
		e.Good, e.Older, e.Pending = string(to), string(was), false
		if err = book.Sync([]bootguard.Entry{e}); err != nil {
			return err
		}
		was = to
		say("round %d", n)
	}
}
