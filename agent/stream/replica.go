package stream

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// Address is where aggregators are: each address the host has is one of them.
type Address struct {
	// Host is a DNS name or an IP address.
	Host string
	Port uint16
}

// String returns host:port.
func (a Address) String() string { return net.JoinHostPort(a.Host, strconv.Itoa(int(a.Port))) }

// ParseAddresses reads a comma-separated list of host:port. An error names the one that is wrong.
func ParseAddresses(list string) ([]Address, error) {
	var addresses []Address
	for text := range strings.SplitSeq(list, ",") {
		text = strings.TrimSpace(text)
		host, port, err := net.SplitHostPort(text)
		n, wrong := strconv.ParseUint(port, 10, 16)
		if err != nil || wrong != nil || host == "" || n == 0 {
			return nil, fmt.Errorf("%q is no address: it must be host:port", text)
		}
		addresses = append(addresses, Address{Host: host, Port: uint16(n)})
	}
	return addresses, nil
}

// replica is one aggregator.
type replica struct {
	// address is the ip:port to dial, and host the name its certificate must have.
	address, host string
	// identity is what nodes are shared out by: the host of one replica, whose address may change, else the address.
	identity string
}

// lookup finds the addresses of a host; that of [net.Resolver.LookupNetIP].
type lookup func(ctx context.Context, network, host string) ([]netip.Addr, error)

// replicas finds those at an address.
func (find lookup) replicas(ctx context.Context, a Address) ([]replica, error) {
	host := strings.TrimSuffix(a.Host, ".") // which only says that the name is whole
	if _, err := netip.ParseAddr(host); err == nil {
		return []replica{{address: a.String(), host: host, identity: a.String()}}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, lookUpWithin)
	defer cancel()
	ips, err := find(ctx, "ip", a.Host)
	if err != nil {
		return nil, fmt.Errorf("look up the aggregators: %w", err)
	}
	var found []replica
	for _, ip := range ips {
		// A replica that has addresses of both families is one replica: the family that is preferred here comes first.
		if ip = ip.Unmap(); ip.Is4() == ips[0].Unmap().Is4() {
			address := netip.AddrPortFrom(ip, a.Port).String()
			found = append(found, replica{address: address, host: host, identity: address})
		}
	}
	if len(found) == 1 {
		found[0].identity = a.String()
	}
	return found, nil
}
