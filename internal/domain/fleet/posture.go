package fleet

import (
	"fmt"
	"slices"
	"strings"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

// Posture is what a host could survive alone, as it says itself: a set of words, kept as bits, because there is one for each host of the
// fleet. The zero posture is that of a host which has said nothing, and has nothing. Bits are stored: they never change their meaning.
type Posture uint16

// The words.
const (
	PanicReboot      Posture = 1 << iota // a kernel that panics reboots
	PanicEarly                           // and does so before any settings are read: it is on the kernel's command line
	Watchdog                             // a watchdog is armed
	WatchdogHardware                     // and it is no software of the kernel that it watches
	Deadline                             // a boot that gets stuck is ended
	Guard                                // the boot guard ran as a unit in this boot
	GuardEarly                           // and before, in the initramfs
	GuardEnabled                         // nobody has switched it off
	Good                                 // each component has a release to go back to
	Space                                // there is room for what starts after going back
	Launcher                             // the agent runs under the launcher, which goes back to a good agent

	said Posture = 1 << 15 // the host has said its posture
)

// posture is what there is to say about a word.
type posture struct {
	bit  Posture
	name string
	cure string // what a host that misses it needs
}

// postures are all words, in the order in which people are told.
func postures() [11]posture {
	return [...]posture{
		{PanicReboot, "panic-reboot", "set kernel.panic to 10 in /etc/sysctl.d"},
		{PanicEarly, "panic-early", "add panic=10 to the kernel command line"},
		{Watchdog, "watchdog", "set RuntimeWatchdogSec=30s in /etc/systemd/system.conf; load softdog where there is no /dev/watchdog0"},
		{WatchdogHardware, "watchdog-hardware", "give the host a watchdog of its hardware or its hypervisor"},
		{Deadline, "deadline", "enable firebreak-deadline.timer"},
		{Guard, "guard", "install firebreak-guard, enable firebreak-guard.service and reboot"},
		{GuardEarly, "guard-early", "renew the initramfs with firebreak-guard in it and reboot"},
		{GuardEnabled, "guard-enabled", "remove the guard's file 'disabled', and firebreak.disable from the kernel command line"},
		{Good, "good", "see what 'firebreak-guard status' says about the components"},
		{Space, "space", "free some space where the agent keeps its state"},
		{Launcher, "launcher", "start the agent by firebreak-agent.service of the package"},
	}
}

// PostureOf is the posture of a host that has these words. Those that are not known here are left out: agents may be newer.
func PostureOf(words []string) Posture {
	return said | bitsOf(words)
}

func bitsOf(words []string) Posture {
	var p Posture
	for _, word := range postures() {
		if slices.Contains(words, word.name) {
			p |= word.bit
		}
	}
	return p
}

// Said tells whether the host has said its posture.
func (p Posture) Said() bool { return p&said != 0 }

// Have lists the words that the host has, in a fixed order.
func (p Posture) Have() []string {
	return p.list(func(word posture) bool { return p&word.bit != 0 })
}

// Missing lists the words that it does not have; of one that has said nothing, all.
func (p Posture) Missing() []string {
	return p.list(func(word posture) bool { return p&word.bit == 0 })
}

func (Posture) list(picks func(posture) bool) []string {
	var names []string
	for _, word := range postures() {
		if picks(word) {
			names = append(names, word.name)
		}
	}
	return names
}

// Among lists which of the wanted words it has.
func (p Posture) Among(wanted []string) []string {
	return (p & bitsOf(wanted)).Have()
}

// Meets tells whether it has all that is wanted. Whoever wants nothing is content with any, even one that nobody said.
func (p Posture) Meets(wanted Posture) bool { return p.Lacks(wanted) == 0 }

// Lacks is what of the wanted words it does not have; 0 if it has them all. What is wanted is made with [PostureOf].
func (p Posture) Lacks(wanted Posture) Posture { return wanted &^ p &^ said }

// Lacks lists what of the wanted words it does not have, each once.
func Lacks(wanted, have []string) []string {
	var lacks []string
	for _, word := range wanted {
		if !slices.Contains(have, word) && !slices.Contains(lacks, word) {
			lacks = append(lacks, word)
		}
	}
	return lacks
}

// Cure is what a host that misses a word needs; empty if the word is not known.
func Cure(word string) string {
	for _, known := range postures() {
		if known.name == word {
			return known.cure
		}
	}
	return ""
}

// CheckPosture lists what is wrong with words that somebody requires; path prefixes each problem.
func CheckPosture(path string, words []string) []fault.Problem {
	var problems []fault.Problem
	for i, word := range words {
		where := fmt.Sprintf("%s[%d]", path, i)
		if Cure(word) == "" {
			problems = append(problems, fault.Problem{Path: where, Message: fmt.Sprintf(
				"unknown word %q; use %s", word, strings.Join(Posture(0).Missing(), ", "))})
		}
		if slices.Contains(words[:i], word) {
			problems = append(problems, fault.Problem{Path: where, Message: fmt.Sprintf("is named before: %q", word)})
		}
	}
	return problems
}

// Hazard is a way in which an update takes a host down.
type Hazard string

// The hazards.
const (
	EarlyPanic Hazard = "a panic early in the boot"
	LatePanic  Hazard = "a panic later on"
	Hang       Hazard = "a hanging kernel"
	StuckBoot  Hazard = "a boot that gets stuck"
	BadAgent   Hazard = "a broken agent"
)

// Hazards lists all hazards.
func Hazards() []Hazard { return []Hazard{EarlyPanic, LatePanic, Hang, StuckBoot, BadAgent} }

// Survives tells whether a host of the posture comes back from a hazard with nobody's help: whether something makes it boot again, or does
// not let it die, and somebody then goes back. Room is not asked for: going back needs none.
func (p Posture) Survives(h Hazard) bool {
	const back = Guard | GuardEnabled | Good
	var needs Posture
	switch h {
	case EarlyPanic:
		needs = back | PanicEarly | GuardEarly
	case LatePanic:
		needs = back | PanicReboot
	case Hang:
		needs = back | Watchdog
	case StuckBoot:
		needs = back | Deadline
	case BadAgent:
		needs = Launcher
	default:
		return false
	}
	return p.Meets(needs)
}
