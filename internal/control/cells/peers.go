package cells

import (
	"fmt"
	"net"
	"net/url"
	"strings"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/plan"
)

// Peers reads peers as the command line has them, "us=https://us.example.net:7080", and their tokens, one "us fb_peer_..." a line; lines that
// begin with # say nothing.
func Peers(flags []string, tokens string) ([]Peer, error) {
	secrets := map[string]string{}
	var problems []fault.Problem
	number := 0
	for line := range strings.Lines(tokens) {
		number++
		fields := strings.Fields(line)
		switch {
		case len(fields) == 0 || strings.HasPrefix(fields[0], "#"):
		case len(fields) != 2: // it may be a secret: it is not repeated
			problems = append(problems, fault.Problem{Path: "peer-tokens", Line: number, Message: "must be a cell's name and its token"})
		default:
			secrets[fields[0]] = fields[1]
		}
	}
	var peers []Peer
	for _, flag := range flags {
		name, where, _ := strings.Cut(flag, "=")
		peers = append(peers, Peer{Name: name, URL: where, Token: secrets[name]})
		delete(secrets, name)
	}
	for name := range secrets {
		problems = append(problems, fault.Problem{Path: "peer-tokens", Message: fmt.Sprintf("has a token for %q, which is no --peer", name)})
	}
	return peers, fault.Problems("read the peers", append(problems, check(peers)...))
}

func check(peers []Peer) []fault.Problem {
	var problems []fault.Problem
	seen := map[string]bool{}
	for _, p := range peers {
		complain := func(format string, args ...any) {
			problems = append(problems, fault.Problem{Path: "peer", Message: fmt.Sprintf("%q: ", p.Name) + fmt.Sprintf(format, args...)})
		}
		u, err := url.Parse(p.URL)
		switch {
		case !plan.Name(p.Name):
			complain("must be written as NAME=URL, with the name of a cell")
		case seen[p.Name]:
			complain("is given twice")
		case err != nil || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil || u.RawQuery != "":
			complain("must have a URL such as https://us.example.net:7080")
		case u.Scheme == "http" && !loopback(u.Hostname()):
			complain("must be an https URL: its token would cross the network in clear text")
		case p.Token == "":
			complain("has no token; make one there with 'firebreak token create --kind peer' and put \"%s TOKEN\" into the file of --peer-tokens", p.Name)
		}
		seen[p.Name] = true
	}
	return problems
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
