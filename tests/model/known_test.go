package model

import (
	"slices"
	"sync"
)

// known are the rooms that there are, and how often each act was done.
type known struct {
	mu    sync.Mutex
	rooms []string
	acted map[string]int
	said  map[string]string // event by the mark in it, "" if it was refused
	// forgotten are the rooms that a user ever forgot.
	forgotten map[string]bool
}

func (k *known) add(room string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !slices.Contains(k.rooms, room) {
		k.rooms = append(k.rooms, room)
	}
}

func (k *known) count(act string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.acted == nil {
		k.acted = map[string]int{}
	}
	k.acted[act]++
}

func (k *known) say(mark, event string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.said == nil {
		k.said = map[string]string{}
	}
	k.said[mark] = event
}

func (k *known) all() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.rooms)
}

// receiptID is what there is one receipt for.
type receiptID struct{ room, user, thread, typ string }

// receiptBook holds the receipts that were set. One that was asked for and refused
// may have been set before the request was cut and repeated, and nobody may have
// been told.
type receiptBook struct {
	mu     sync.Mutex
	all    map[receiptID][]string // acknowledged
	unsure map[receiptID]bool
}

func (b *receiptBook) set(d *device, done bool, event string, ids ...receiptID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, id := range ids {
		id.user = d.user
		if done {
			b.all[id] = append(b.all[id], event)
		} else if d.cut {
			b.unsure[id] = true
		}
	}
}
