//go:build chaos

package chaos

import (
	"io"
	"net"
	"sync"
	"testing"
)

// proxy is a network between agents and an aggregator. While it is cut, what is sent is held up, connections stay open, and new ones are
// taken and never answered.
type proxy struct {
	address, to string
	mu          sync.Mutex
	gate        chan struct{} // closed while the network is well
	connections []net.Conn
}

func newProxy(t *testing.T, to string) *proxy {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{address: listener.Addr().String(), to: to, gate: make(chan struct{})}
	close(p.gate)
	t.Cleanup(func() {
		_ = listener.Close()
		p.heal()
		p.hangUp()
	})
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go p.carry(c)
		}
	}()
	return p
}

func (p *proxy) carry(near net.Conn) {
	p.well()
	far, err := net.Dial("tcp", p.to)
	if err != nil {
		_ = near.Close()
		return
	}
	p.mu.Lock()
	p.connections = append(p.connections, near, far)
	p.mu.Unlock()
	go p.copy(near, far)
	p.copy(far, near)
}

func (p *proxy) copy(to, from net.Conn) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		p.well()
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				break
			}
		}
		if err != nil {
			break
		}
	}
	_ = to.Close()
	_, _ = io.Copy(io.Discard, from)
	_ = from.Close()
}

// well waits until the network is.
func (p *proxy) well() {
	p.mu.Lock()
	gate := p.gate
	p.mu.Unlock()
	<-gate
}

func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gate = make(chan struct{})
}

// heal lets what was held up through, as a network does.
func (p *proxy) heal() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.gate:
	default:
		close(p.gate)
	}
}

func (p *proxy) hangUp() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.connections {
		_ = c.Close()
	}
}
