package api

import "time"

// MaxFleetGroups bounds a fleet profile.
const MaxFleetGroups = 10_000

// FleetProfile is how many hosts of what sort there are: what a simulation needs to know of the fleet.
type FleetProfile struct {
	Taken     time.Time    `json:"taken"`
	Component string       `json:"component,omitempty"` // only hosts that have it; empty: all
	Hosts     int64        `json:"hosts"`
	Groups    []FleetGroup `json:"groups"` // largest first, at most MaxFleetGroups and one that sums up the rest
}

// FleetGroup is the hosts that are alike in everything that it names.
type FleetGroup struct {
	Class    string `json:"class,omitempty"`
	OS       string `json:"os,omitempty"`
	Version  string `json:"version,omitempty"`
	Kernel   string `json:"kernel,omitempty"`
	Consumer string `json:"consumer,omitempty"` // version of what reads the component
	Site     string `json:"site,omitempty"`
	Tenant   string `json:"tenant,omitempty"`
	Region   string `json:"region,omitempty"`
	Hosts    int64  `json:"hosts"`
	Heard    int64  `json:"heard"`            // of them, those heard in the last 15 minutes
	Summed   int64  `json:"summed,omitempty"` // so many smaller groups in one, which says nothing of what its hosts are
}
