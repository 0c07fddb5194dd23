package cli

import (
	"context"
	"fmt"
	"os"
	"strings"

	"filippo.io/age"
	"github.com/spf13/cobra"

	"github.com/firebreak-dev/firebreak/internal/control/backup"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

// backupFlags are the flags of `backup`.
type backupFlags struct {
	backup.Options
	database   string
	recipients []string
	passphrase string
}

func (p *program) backupCommand() *cobra.Command {
	var f backupFlags
	c := p.leaf(command{
		use: "backup", short: "Copy an installation into one file, while it runs", args: cobra.NoArgs,
		long: `
Copies database and keys of a data directory into one file, and a list of the artifacts; with --with-blobs the artifacts too.
The server may run meanwhile: the copy is of one moment. It is checked, written, read again, and only then gets its name.

Who has the keys can enrol endpoints and sign directives: encrypt the file, or keep the keys elsewhere and leave them out.
While it works an unencrypted copy of the database is beside the file, in a directory that only this user may read.

With --database the installation is on PostgreSQL: back that up by its own means (pg_dump, or base backups and WAL
archiving), and with this what else there is.`,
		example: `firebreak backup --data /var/lib/firebreak --to /backups/monday.backup --recipient age1...
			firebreak backup --data /var/lib/firebreak --to it.backup --passphrase-file secret --with-blobs`,
		run: func(ctx context.Context, _ []string) error { return p.backUp(ctx, f) },
	})
	flags := c.Flags()
	flags.StringVar(&f.Data, "data", "firebreak-data", "data directory of the control plane")
	flags.StringVar(&f.To, "to", "", "file to make; it must not exist")
	flags.StringVar(&f.Keys, "keys-dir", "", "directory with the control plane's keys (default: keys in the data directory)")
	flags.StringVar(&f.database, "database", "", "URL of the PostgreSQL database, if the installation has one; it is not copied")
	flags.BoolVar(&f.WithoutKeys, "without-keys", false, "leave the keys out")
	flags.BoolVar(&f.WithBlobs, "with-blobs", false, "put the artifacts in")
	flags.StringArrayVar(&f.recipients, "recipient", nil, "age recipient (age1...) that it is encrypted for; may be given several times")
	flags.StringVar(&f.passphrase, "passphrase-file", "", "file with a passphrase that it is encrypted with")
	return c
}

func (p *program) backUp(ctx context.Context, f backupFlags) error {
	if f.To == "" {
		return fault.New(fault.Invalid, "back up: --to is missing").Hint("Name the file to make: --to FILE.")
	}
	var err error
	if f.Recipients, f.Identities, err = f.encryption(); err != nil {
		return err
	}
	f.Elsewhere, f.Version, f.Now = f.database != "", p.Version, p.Clock.Now()
	f.Progress, f.Bytes = p.stages()
	result, err := backup.Make(ctx, f.Options)
	p.drawing.end()
	if err != nil {
		return err
	}
	return p.show(result, func() { p.sayBackup(result) })
}

// encryption reads for whom the backup is, and how it can be read again.
func (f backupFlags) encryption() (recipients []age.Recipient, identities []age.Identity, err error) {
	if f.passphrase != "" && len(f.recipients) > 0 {
		return nil, nil, fault.New(fault.Invalid, "back up: both --recipient and --passphrase-file are given; use one")
	}
	for _, text := range f.recipients {
		r, wrong := age.ParseRecipients(strings.NewReader(text))
		if wrong != nil {
			return nil, nil, fault.New(fault.Invalid, "read --recipient %q: %w", text, wrong).Hint("It is the public part of a key that 'age-keygen' made, age1...")
		}
		recipients = append(recipients, r...)
	}
	if f.passphrase == "" {
		return recipients, nil, nil
	}
	secret, err := passphrase(f.passphrase)
	if err != nil {
		return nil, nil, err
	}
	recipient, err := age.NewScryptRecipient(secret)
	if err != nil {
		return nil, nil, err
	}
	identity, err := age.NewScryptIdentity(secret)
	return []age.Recipient{recipient}, []age.Identity{identity}, err
}

// passphrase reads a passphrase of one line.
func passphrase(file string) (string, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return "", fault.New(fault.Invalid, "read the passphrase: %w", err)
	}
	secret := strings.TrimRight(string(data), "\r\n")
	if secret == "" || strings.ContainsAny(secret, "\r\n") {
		return "", fault.New(fault.Invalid, "read the passphrase: %s must hold one line and nothing else", file)
	}
	return secret, nil
}

func (p *program) sayBackup(r backup.Result) {
	m := r.Manifest
	p.say("backup %s, %s", r.File, megabytes(r.Size))
	if m.Database == "sqlite" {
		p.say("  database: schema %d, %s, %s", m.Content.Schema, plural(m.Content.Tables["endpoints"], "endpoint"),
			plural(m.Content.Tables["rollouts"], "rollout"))
	} else {
		p.say("  database: not in here; back PostgreSQL up by its own means, at the same time or later")
	}
	keys := map[bool]string{true: "in here", false: "not in here; without them it is no use: keep a copy"}
	p.say("  keys: %s", keys[m.Keys])
	artifacts := map[bool]string{true: "in here", false: "listed, not in here"}
	p.say("  artifacts: %d, %s", len(m.Listed), artifacts[m.Blobs])
	switch {
	case r.Encrypted && !r.ReadAgain:
		p.say("  encrypted; its bytes were compared, but only a recipient can try to read it")
	case r.Encrypted:
		p.say("  encrypted, decrypted again and checked")
	case m.Keys:
		p.say("  not encrypted: keep it as safe as the keys that are in it")
	}
}

func megabytes(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }
