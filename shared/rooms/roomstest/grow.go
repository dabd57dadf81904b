package roomstest

import (
	"fmt"
	"slices"

	"github.com/virga-im/virga/events/auth"
	"github.com/virga-im/virga/events/id"
)

// Grow lets the servers go on for about n events: each on what it has heard of,
// hearing of the others now and then.
func (h *History) Grow(n int) {
	h.t.Helper()
	servers := h.servers()
	for range n {
		s := servers[h.r.IntN(len(servers))]
		if h.r.IntN(4) == 0 {
			h.hear(s, servers[h.r.IntN(len(servers))])
		}
		prev := slices.Clone(h.tips[s])
		h.r.Shuffle(len(prev), func(i, j int) { prev[i], prev[j] = prev[j], prev[i] })
		prev = prev[:min(len(prev), 1+h.r.IntN(4))]
		slices.Sort(prev)
		d := h.random(s)
		node := h.Add(prev, d)
		if node == nil {
			continue
		}
		if node.Rejected && h.r.IntN(3) > 0 {
			continue // nobody follows it
		}
		h.tips[s] = slices.DeleteFunc(h.tips[s], func(t string) bool { return slices.Contains(prev, t) })
		h.tips[s] = append(h.tips[s], node.Event().ID)
	}
}

// End is an event of the creator that follows everything, directly or not.
func (h *History) End() *Node {
	h.t.Helper()
	var node *Node
	for {
		tips := h.exposed()
		if len(tips) == 1 && node != nil {
			return node
		}
		tips = tips[:min(len(tips), 15)]
		node = h.Add(tips, Event{Sender: h.users[0], Type: "m.room.message", Content: map[string]any{"body": "the end"}})
		if node == nil {
			h.t.Fatal("the creator cannot say anything any more")
		}
	}
}

// exposed lists the events that nothing follows but what was rejected.
func (h *History) exposed() (tips []string) {
	followed := map[string]bool{}
	for _, eventID := range slices.Backward(h.Order) {
		n := h.Nodes[eventID]
		if !n.Rejected && !followed[eventID] {
			tips = append(tips, eventID)
		}
		for _, p := range n.Event().PrevEvents {
			followed[p] = followed[p] || !n.Rejected || followed[eventID]
		}
	}
	slices.Sort(tips)
	return tips
}

func (h *History) servers() []string {
	var servers []string
	for s := range h.keys {
		servers = append(servers, s)
	}
	slices.Sort(servers)
	return servers
}

// hear lets one server hear of what another has.
func (h *History) hear(s, from string) {
	for _, t := range h.tips[from] {
		if !slices.Contains(h.tips[s], t) {
			h.tips[s] = append(h.tips[s], t)
		}
	}
}

// random is something that a user of the server might do, or nobody should.
func (h *History) random(server string) Event {
	var mine []string
	for _, u := range h.users {
		if id.Server(u) == server {
			mine = append(mine, u)
		}
	}
	me, other := mine[h.r.IntN(len(mine))], h.users[1+h.r.IntN(len(h.users)-1)] // the creator stays
	some := func(n int) string { return fmt.Sprint(h.r.IntN(n)) }
	d := Event{Sender: me, Hostile: h.r.IntN(12) == 0}
	state := func(typ, key string, content map[string]any) Event {
		d.Type, d.StateKey, d.Content = typ, &key, content
		return d
	}
	member := func(who, membership string) Event {
		return state("m.room.member", who, map[string]any{"membership": membership, "displayname": some(9)})
	}
	switch k := h.r.IntN(20); {
	case k < 4:
		content := map[string]any{"body": some(1000)}
		if h.r.IntN(3) > 0 {
			rel := []string{"m.thread", "m.replace", "m.reference", "m.annotation"}[h.r.IntN(4)]
			parent := h.Order[max(0, len(h.Order)-1-h.r.IntN(20))]
			content["m.relates_to"] = map[string]any{"rel_type": rel, "event_id": parent, "key": some(2)}
			content["m.new_content"] = map[string]any{"body": content["body"]}
		}
		d.Type, d.Content = "m.room.message", content
		return d
	case k < 6:
		return state("m.room.topic", "", map[string]any{"topic": some(1000)})
	case k < 7:
		return state("org.example.note", some(3), map[string]any{"note": some(1000)})
	case k < 12:
		return member(me, "join")
	case k < 13 && me != h.users[0]:
		return member(me, "leave")
	case k < 14:
		return member(other, "ban")
	case k < 15:
		return member(other, []string{"leave", "invite"}[h.r.IntN(2)])
	case k < 17:
		return state("m.room.power_levels", "", h.levels())
	case k < 18:
		return state("m.room.join_rules", "", map[string]any{"join_rule": []string{"public", "invite"}[h.r.IntN(2)]})
	case k < 19:
		return state("m.room.history_visibility", "", map[string]any{"history_visibility": []string{"shared", "joined"}[h.r.IntN(2)]})
	}
	d.Type, d.Redacts, d.Content = "m.room.redaction", h.Order[6+h.r.IntN(max(1, len(h.Order)-6))%max(1, len(h.Order)-6)], map[string]any{}
	return d
}

// levels are power levels with some users higher and some lower.
func (h *History) levels() map[string]any {
	users := map[string]int{}
	if !h.Version.Creators {
		users[h.users[0]] = 100
	}
	for _, u := range h.users[1:] {
		if id.Server(u) != "" && h.r.IntN(3) == 0 {
			users[u] = 50
		}
	}
	return map[string]any{"users": users, "state_default": 50, "ban": []int{50, 40}[h.r.IntN(2)], "events": map[string]int{"m.room.topic": h.r.IntN(2) * 50}}
}

// Membership is the membership of a user after an event, "" if there is none.
func (h *History) Membership(n *Node, user string) string {
	eventID := n.After[auth.Key{Type: "m.room.member", StateKey: user}]
	if eventID == "" {
		return ""
	}
	return h.Nodes[eventID].View().Content.Membership
}

// Users are the users that take part, those that never joined included.
func (h *History) Users() []string { return h.users }
