package identity

import (
	"crypto/sha256"
	"sync"
	"time"
)

// cache remembers answers by the hash of what was asked, so that no token stays in memory. The zero value is empty and ready.
type cache[V any] struct {
	mu      sync.Mutex
	entries map[[sha256.Size]byte]entry[V]
}

type entry[V any] struct {
	value V
	until time.Time
}

func (c *cache[V]) get(key [sha256.Size]byte, now time.Time) (V, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries[key]
	if !ok || !now.Before(e.until) {
		var none V
		return none, false
	}
	return e.value, true
}

// put remembers an answer: a yes for longer than a no, which may be mended any moment.
func (c *cache[V]) put(key [sha256.Size]byte, value V, now time.Time, yes bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.entries == nil {
		c.entries = make(map[[sha256.Size]byte]entry[V])
	}
	if len(c.entries) >= rememberAtMost {
		c.makeRoom(now)
	}
	until := now.Add(believeNo)
	if yes {
		until = now.Add(believeYes)
	}
	c.entries[key] = entry[V]{value, until}
}

// makeRoom drops what has expired and, if that was little, anything until a quarter is free: what is dropped is asked again.
func (c *cache[V]) makeRoom(now time.Time) {
	for key, e := range c.entries {
		if !now.Before(e.until) {
			delete(c.entries, key)
		}
	}
	for key := range c.entries {
		if len(c.entries) <= rememberAtMost*3/4 {
			return
		}
		delete(c.entries, key)
	}
}
