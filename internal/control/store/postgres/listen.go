package postgres

import (
	"context"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// channels begins the names of the channels of wake-ups.
const channels = "firebreak_"

// quiet is how long a listener hears nothing before it asks whether the server is still there.
const quiet = 20 * time.Second

// listener is a [store.Dialect]'s Listen: it has a connection of its own.
func listener(config *pgx.ConnConfig) func(context.Context, []string, func(), func(string)) error {
	return func(ctx context.Context, topics []string, ready func(), heard func(string)) error {
		conn, err := pgx.ConnectConfig(ctx, config.Copy())
		if err != nil {
			return err
		}
		defer hangUp(ctx, conn)
		for _, topic := range topics {
			if _, err := conn.Exec(ctx, "LISTEN "+pgx.Identifier{channels + topic}.Sanitize()); err != nil {
				return err
			}
		}
		ready()
		for {
			channel, err := next(ctx, conn)
			if err != nil {
				return err
			}
			if channel != "" {
				heard(strings.TrimPrefix(channel, channels))
			}
		}
	}
}

// next waits for a wake-up and gives its channel, or "" if there was none for a while and the server is there.
func next(ctx context.Context, conn *pgx.Conn) (string, error) {
	waiting, cancel := context.WithTimeout(ctx, quiet)
	defer cancel()
	wakeup, err := conn.WaitForNotification(waiting)
	if err == nil {
		return wakeup.Channel, nil
	}
	if ctx.Err() != nil || !pgconn.Timeout(err) {
		return "", err
	}
	asking, stop := context.WithTimeout(ctx, quiet)
	defer stop()
	return "", conn.Ping(asking)
}

// hangUp closes a connection without waiting long for a server that may be gone.
func hangUp(ctx context.Context, conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = conn.Close(ctx)
}
