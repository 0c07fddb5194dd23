package cli

import (
	"fmt"
	"os"
	"strings"

	"github.com/firebreak-dev/firebreak/client"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

const defaultServer = "http://127.0.0.1:7080"

const maxTokenFile = 4096 // bytes

// connect makes a client from flags and environment. Nothing is sent yet.
func (p *program) connect() (*client.Client, error) {
	token, err := p.credential()
	if err != nil {
		return nil, err
	}
	c, err := client.New(p.address(), token)
	if err != nil {
		return nil, err
	}
	c.Agent = "firebreak/" + p.Version
	return c, nil
}

// address is the control plane's.
func (p *program) address() string {
	return first(p.server, p.Getenv("FIREBREAK_SERVER"), defaultServer)
}

// credential finds the token: a flag wins over the environment, the token itself over a file.
func (p *program) credential() (string, error) {
	file := p.tokenFile
	if file == "" {
		if token := first(p.token, p.Getenv("FIREBREAK_TOKEN")); token != "" {
			return token, nil
		}
		file = p.Getenv("FIREBREAK_TOKEN_FILE")
	}
	switch {
	case p.token != "" && p.tokenFile != "":
		return "", fault.New(fault.Invalid, "read token: both --token and --token-file are given; use one")
	case file == "":
		return "", nil // the server says what is missing, with the next step
	}
	return readToken(file)
}

func readToken(file string) (string, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return "", fault.New(fault.Invalid, "read token file: %w", err)
	}
	if len(data) > maxTokenFile {
		return "", fault.New(fault.Invalid, "read token file %s: it has %d bytes, which is no token", file, len(data))
	}
	token := strings.TrimSpace(string(data))
	if token == "" || strings.ContainsAny(token, " \n\t") {
		return "", fault.New(fault.Invalid, "read token file %s: it must hold one token and nothing else", file)
	}
	return token, nil
}

func first(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

// plural is "1 host" or "2 hosts".
func plural(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
