package app

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// askedByReplica is the header of a replica that asks another one for a report, which then asks nobody.
const askedByReplica = "X-Foretide-Replica"

// reportAtMost is how many bytes of another replica's report are taken.
const reportAtMost = 8 << 20

// findReport makes the report of a policy, or gets it from the replica that decides it. A question of a replica is not passed on.
func (a *aggregator) findReport(ctx context.Context, namespace, name string, fromReplica bool) (observed, bool, error) {
	made, found, err := a.report(ctx, namespace, name, time.Now())
	if found || err != nil || fromReplica || a.peers == nil {
		return made, found, err
	}
	return a.peers.report(ctx, namespace, name)
}

// report asks each replica for a report. An error is only told when none had it.
func (p *peers) report(ctx context.Context, namespace, name string) (made observed, found bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, reportWithin)
	defer cancel()
	path := "/report/" + url.PathEscape(namespace) + "/" + url.PathEscape(name)
	for _, u := range p.urls {
		addresses, failed := net.DefaultResolver.LookupHost(ctx, u.Hostname())
		if failed != nil {
			err = fmt.Errorf("replicas behind %s: %w", u.Host, failed)
			continue
		}
		for _, address := range addresses {
			at := *u
			at.Host = strings.TrimSuffix(net.JoinHostPort(address, u.Port()), ":")
			access, failed := p.access(u.Hostname())
			if failed != nil {
				return observed{}, false, failed
			}
			client, failed := access.Client()
			if failed != nil {
				return observed{}, false, failed
			}
			page, ok, failed := askReplica(ctx, client, at.String()+path)
			if failed == nil && ok {
				var data []byte
				if data, ok, failed = askReplica(ctx, client, at.String()+path+"?format=json"); failed == nil && ok {
					return observed{page, data}, true, nil
				}
			}
			if failed != nil {
				err = failed
			}
		}
	}
	return observed{}, false, err
}

// askReplica gets a page of another replica; false is that it knows of none.
func askReplica(ctx context.Context, client *http.Client, url string) ([]byte, bool, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, false, err
	}
	request.Header.Set(askedByReplica, "1")
	response, err := client.Do(request)
	if err != nil {
		return nil, false, fmt.Errorf("ask another replica for a report: %w", err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, reportAtMost))
	switch {
	case err != nil:
		return nil, false, fmt.Errorf("ask another replica for a report: %w", err)
	case response.StatusCode == http.StatusNotFound:
		return nil, false, nil
	case response.StatusCode != http.StatusOK:
		return nil, false, fmt.Errorf("ask another replica for a report: %s: %s: %.200s", url, response.Status, body)
	}
	return body, true, nil
}
