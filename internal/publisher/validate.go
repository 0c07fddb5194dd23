package publisher

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
)

// DefaultValidation is how long a validator may take if nothing else is said.
const DefaultValidation = 5 * time.Minute

const maxTail = 2000 // bytes of a validator's last words that a verdict keeps

// Validate runs a validator on what will be published and gives its verdict: exit status 0 means passed. "{dir}" in the arguments is
// replaced by the directory, and put last if it is nowhere; a single file is given in a directory of its own, as endpoints see it.
// An error means that there is no verdict, as when the command cannot be started.
func (p *Publisher) Validate(ctx context.Context, argv []string, timeout time.Duration, packed Packed) (release.Verdict, error) {
	if len(argv) == 0 || argv[0] == "" {
		return release.Verdict{}, fault.New(fault.Invalid, "validate %s: no validator command is given", packed.Path)
	}
	if timeout <= 0 {
		timeout = DefaultValidation
	}
	dir, done, err := staged(ctx, packed)
	if err != nil {
		return release.Verdict{}, err
	}
	defer done()
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	args := withDir(argv, dir)
	tail := &lastWords{}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...) //nolint:gosec // running the owner's own command is the purpose
	cmd.Stdout, cmd.Stderr = tail, tail
	cmd.WaitDelay = 2 * time.Second // children that keep the output open do not keep us
	err = cmd.Run()
	verdict := release.Verdict{Validator: filepath.Base(argv[0]), Artifact: packed.Digest, Passed: err == nil, Detail: tail.String(), At: p.Clock.Now().UTC()}
	var exit *exec.ExitError
	switch {
	case err == nil || errors.As(err, &exit) && ctx.Err() == nil:
		return verdict, nil
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		verdict.Detail = strings.TrimSpace(fmt.Sprintf("no verdict within %s. %s", timeout, verdict.Detail))
		return verdict, nil
	default:
		return release.Verdict{}, fault.New(fault.Invalid, "validate %s with %s: %w", packed.Path, argv[0], err).
			Hint("Check the validator command; without a verdict nothing is published.")
	}
}

func withDir(argv []string, dir string) []string {
	args := make([]string, 0, len(argv)+1)
	found := false
	for _, a := range argv {
		found = found || strings.Contains(a, "{dir}")
		args = append(args, strings.ReplaceAll(a, "{dir}", dir))
	}
	if !found {
		args = append(args, dir)
	}
	return args
}

// staged gives the directory that a validator sees, and a function that cleans up.
func staged(ctx context.Context, packed Packed) (string, func(), error) {
	nothing := func() {}
	if packed.Format == release.Tar {
		dir, err := filepath.Abs(packed.Path)
		return dir, nothing, err
	}
	dir, err := os.MkdirTemp("", "firebreak-validate-")
	if err != nil {
		return "", nothing, fmt.Errorf("validate %s: %w", packed.Path, err)
	}
	done := func() { _ = os.RemoveAll(dir) }
	f, err := os.OpenFile(filepath.Join(dir, packed.Name), os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600)
	if err == nil {
		err = errors.Join(packed.Write(ctx, f), f.Close())
	}
	if err != nil {
		done()
		return "", nothing, fmt.Errorf("validate %s: %w", packed.Path, err)
	}
	return dir, done, nil
}

// lastWords keeps the end of what is written to it.
type lastWords struct{ tail []byte }

func (l *lastWords) Write(p []byte) (int, error) {
	l.tail = append(l.tail, p...)
	if extra := len(l.tail) - maxTail; extra > 0 {
		l.tail = append(l.tail[:0], l.tail[extra:]...)
	}
	return len(p), nil
}

func (l *lastWords) String() string {
	return strings.TrimSpace(strings.ToValidUTF8(string(l.tail), "?"))
}
