package timeline

import (
	"container/list"
	"sync"
)

// cache keeps immutable values, the most recently used of them, up to a number
// of bytes.
type cache[K comparable, V any] struct {
	mu    sync.Mutex
	max   int
	size  int
	order *list.List // of cached[K, V], most recently used first
	byKey map[K]*list.Element
}

type cached[K comparable, V any] struct {
	key   K
	value V
	size  int
}

func newCache[K comparable, V any](maxBytes int) *cache[K, V] {
	return &cache[K, V]{max: maxBytes, order: list.New(), byKey: map[K]*list.Element{}}
}

func (c *cache[K, V]) get(k K) (v V, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.byKey[k]
	if !ok {
		return v, false
	}
	c.order.MoveToFront(e)
	return e.Value.(cached[K, V]).value, true
}

func (c *cache[K, V]) put(k K, v V, size int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.byKey[k]; ok || size > c.max {
		return
	}
	c.byKey[k] = c.order.PushFront(cached[K, V]{k, v, size})
	for c.size += size; c.size > c.max; {
		last := c.order.Back()
		old := c.order.Remove(last).(cached[K, V])
		delete(c.byKey, old.key)
		c.size -= old.size
	}
}
