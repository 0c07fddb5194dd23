// Package notify tells people what happened. This version writes to the log; other ways get a package each below this one.
package notify

import (
	"context"
	"log/slog"
)

// Log notifies by the server's log: a page is an error, because a person must act.
type Log struct{ Logger *slog.Logger }

// Notify tells one thing. Severity is "page" or "info".
func (l Log) Notify(ctx context.Context, severity, text string) {
	level := slog.LevelInfo
	if severity == "page" {
		level = slog.LevelError
	}
	l.Logger.LogAttrs(ctx, level, "notify", slog.String("severity", severity), slog.String("text", text))
}
