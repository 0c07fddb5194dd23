package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"filippo.io/age"
	"github.com/spf13/cobra"

	"github.com/firebreak-dev/firebreak/internal/control/backup"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

// restoreFlags are the flags of `restore`.
type restoreFlags struct {
	backup.RestoreOptions
	identity   string
	passphrase string
	database   string
}

func (p *program) restoreCommand() *cobra.Command {
	var f restoreFlags
	c := p.leaf(command{
		use: "restore", short: "Make a data directory of a backup", args: cobra.NoArgs,
		long: `
Makes a data directory of a backup: everything is checked before anything is in its place. Then it prints what a person
must do, because a backup is a moment that has passed and the endpoints have gone on. What can be made safe is: numbers
that endpoints remember go far ahead, running rollouts are paused, and a freeze keeps everything else from being granted.

A PostgreSQL database is restored by its own means. Afterwards, and before any server starts on it, --database makes it safe.`,
		example: `firebreak restore --from monday.backup --to /var/lib/firebreak --identity key.txt
			firebreak restore --database postgres://firebreak@db/firebreak --keys-dir /etc/firebreak/keys`,
		run: func(ctx context.Context, _ []string) error {
			f.Now = p.Clock.Now()
			f.Progress, f.Bytes = p.stages()
			if f.database != "" {
				return p.makeSafe(ctx, f)
			}
			return p.restore(ctx, f)
		},
	})
	flags := c.Flags()
	flags.StringVar(&f.From, "from", "", "the backup")
	flags.StringVar(&f.To, "to", "", "data directory to make; it must not exist, or be empty")
	flags.StringVar(&f.identity, "identity", "", "file with the age identity that decrypts it")
	flags.StringVar(&f.passphrase, "passphrase-file", "", "file with the passphrase that decrypts it")
	flags.StringVar(&f.Keys, "keys-dir", "", "directory with the control plane's keys, if the backup has none")
	flags.BoolVar(&f.LostKeys, "lost-keys", false, "the keys are lost: the server makes new ones, and every endpoint has to join again")
	flags.StringVar(&f.database, "database", "", "URL of a PostgreSQL database that was restored: make it safe")
	return c
}

func (p *program) restore(ctx context.Context, f restoreFlags) error {
	var problems []fault.Problem
	for _, c := range []struct{ flag, value string }{{"--from", f.From}, {"--to", f.To}} {
		if c.value == "" {
			problems = append(problems, fault.Problem{Path: c.flag, Message: "is missing"})
		}
	}
	if err := fault.Problems("restore", problems); err != nil {
		return err
	}
	var err error
	if f.Identities, err = f.decryption(); err != nil {
		return err
	}
	restored, err := backup.Restore(ctx, f.RestoreOptions)
	p.drawing.end()
	if err != nil {
		return err
	}
	return p.show(restored, func() {
		m := restored.Manifest
		p.say("restored to %s: a backup of %s, made by firebreak %s", f.To, stamp(m.Created), m.Version)
		if m.Database == "sqlite" {
			p.say("  %s, %s, %s", plural(m.Content.Tables["endpoints"], "endpoint"), plural(m.Content.Tables["releases"], "release"),
				plural(m.Content.Tables["rollouts"], "rollout"))
		}
		p.sayMade(restored.Made)
		p.saySteps(restored.Next)
	})
}

// decryption reads with what the backup can be decrypted.
func (f restoreFlags) decryption() ([]age.Identity, error) {
	switch {
	case f.identity != "":
		file, err := os.Open(f.identity)
		if err != nil {
			return nil, fault.New(fault.Invalid, "read --identity: %w", err)
		}
		defer file.Close()
		identities, err := age.ParseIdentities(file)
		if err != nil {
			return nil, fault.New(fault.Invalid, "read --identity %s: %w", f.identity, err).Hint("It is a file that 'age-keygen' made.")
		}
		return identities, nil
	case f.passphrase != "":
		secret, err := passphrase(f.passphrase)
		if err != nil {
			return nil, err
		}
		identity, err := age.NewScryptIdentity(secret)
		return []age.Identity{identity}, err
	}
	return nil, nil
}

// makeSafe makes a PostgreSQL database safe that was restored by its own means.
func (p *program) makeSafe(ctx context.Context, f restoreFlags) error {
	if p.Database == nil {
		return fault.New(fault.Unavailable, "restore: this build knows no PostgreSQL")
	}
	if f.Keys == "" && !f.LostKeys {
		return fault.New(fault.Invalid, "restore: --keys-dir is missing").Hint("Name the directory with the control plane's keys.")
	}
	s, err := p.Database(ctx, f.database)
	if err != nil {
		return err
	}
	made, err := backup.MakeSafe(ctx, backup.SafeOptions{Store: s, Keys: f.Keys, LostKeys: f.LostKeys, Now: f.Now})
	if err = errors.Join(err, s.Close()); err != nil {
		return err
	}
	next := append([]string{"Make sure that no replica ran on the database meanwhile; if one did, run this again with all of them stopped."},
		backup.Afterwards(time.Time{}, made)...)
	return p.show(struct {
		Made backup.Made `json:"made_safe"`
		Next []string    `json:"next"`
	}{made, next}, func() {
		p.sayMade(made)
		p.saySteps(next)
	})
}

func (p *program) sayMade(m backup.Made) {
	for _, id := range m.Paused {
		p.say("  rollout %s is paused", id)
	}
	if m.Frozen {
		p.say("  the installation is frozen")
	}
	if n := len(m.Sequences); n > 0 {
		p.say("  directives of %s go on far above what endpoints saw", plural(int64(n), "component"))
	}
}

func (p *program) saySteps(steps []string) {
	p.say("")
	p.say("Now:")
	for i, step := range steps {
		for j, line := range wrap("", step, p.width()-4) {
			if j == 0 {
				line = fmt.Sprintf("%2d. %s", i+1, line)
			} else {
				line = "    " + line
			}
			p.say("%s", line)
		}
	}
}
