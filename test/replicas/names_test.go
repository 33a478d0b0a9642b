//go:build replicas

package replicas

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
)

// names is a DNS server for one name, as a headless Service has it: the name stands for all addresses there are.
type names struct {
	mu        sync.Mutex
	addresses []netip.Addr
}

// headless is the name. It ends with a dot, so that it is asked for as it is.
const headless = "shards.test."

// dns answers all questions of this process.
var dns names

func TestMain(m *testing.M) {
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		near, far := net.Pipe()
		go dns.serve(far)
		return near, nil
	}}
	m.Run()
}

func (n *names) add(a netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.addresses = append(n.addresses, a)
}

func (n *names) remove(a netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.addresses = slices.DeleteFunc(n.addresses, func(b netip.Addr) bool { return a == b })
}

// serve answers the questions on one connection. Each message comes after its length (RFC 1035, 4.2.2).
func (n *names) serve(c net.Conn) {
	defer func() { _ = c.Close() }()
	for {
		var length [2]byte
		if _, err := io.ReadFull(c, length[:]); err != nil {
			return
		}
		request := make([]byte, binary.BigEndian.Uint16(length[:]))
		if _, err := io.ReadFull(c, request); err != nil {
			return
		}
		answer := n.answer(request)
		if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...)); err != nil {
			return
		}
	}
}

// answer has the addresses when IPv4 ones were asked for (RFC 1035, 4.1).
func (n *names) answer(request []byte) []byte {
	const header, typeA, classIN = 12, 1, 1
	end := header
	for request[end] != 0 {
		end += 1 + int(request[end])
	}
	end += 5 // the root, the type and the class
	n.mu.Lock()
	addresses := slices.Clone(n.addresses)
	n.mu.Unlock()
	if binary.BigEndian.Uint16(request[end-4:]) != typeA {
		addresses = nil
	}
	out := append([]byte{}, request[:2]...)
	out = append(out, 0x84, 0) // an answer, and the last word on it
	for _, count := range []int{1, len(addresses), 0, 0} {
		out = binary.BigEndian.AppendUint16(out, uint16(count))
	}
	out = append(out, request[header:end]...)
	for _, a := range addresses {
		out = append(out, 0xc0, header) // the name asked for
		out = append(out, 0, typeA, 0, classIN, 0, 0, 0, 0, 0, 4)
		out = append(out, a.AsSlice()...)
	}
	return out
}
