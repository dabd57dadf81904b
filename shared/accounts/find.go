package accounts

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/virga-im/virga/events/id"
	"github.com/virga-im/virga/shared/store"
)

// Users are found by the words of their localparts and display names: the rows
// UD#c / word#user {} of the users table, ≤ 1 KB, where c is the word's first
// character. They change in the transaction that changes the profile, so that
// none is lost or left behind.
const (
	// maxWord bounds a word, in bytes, and maxWords the words of a name: somebody
	// with a longer name is found by its beginning.
	maxWord  = 64
	maxWords = 8
	// maxFound is how many rows a search looks at.
	maxFound = 300
)

// words splits a name for comparison, whatever its case and punctuation: sorted,
// each once, at most maxWords of them.
func words(name string) []string {
	fold := func(r rune) rune { return unicode.ToLower(unicode.ToUpper(r)) }
	all := strings.FieldsFunc(strings.Map(fold, name), func(r rune) bool {
		return unicode.IsSpace(r) || unicode.IsPunct(r) || unicode.IsControl(r) || r == utf8.RuneError
	})
	all = all[:min(len(all), maxWords)]
	for i, w := range all {
		all[i] = cutWord(w)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func cutWord(w string) string {
	if len(w) <= maxWord {
		return w
	}
	n := maxWord
	for !utf8.RuneStart(w[n]) {
		n--
	}
	return w[:n]
}

// names are the words that a local user is found by.
func names(user string, p Profile) []string {
	all := append(words(id.Localpart(user)), words(p.DisplayName())...)
	slices.Sort(all)
	return slices.Compact(all)
}

func foundPart(word string) string {
	_, n := utf8.DecodeRuneInString(word)
	return "UD#" + word[:n]
}

func foundKey(word, user string) store.Key {
	return store.Key{Part: foundPart(word), Sort: word + "#" + user}
}

// renames are the writes that make a user who was found by some words be found by
// others.
func renames(user string, was, now []string) (ws []store.Write) {
	for _, w := range now {
		if !slices.Contains(was, w) {
			ws = append(ws, store.Put(store.Users, foundKey(w, user), store.Attrs{}))
		}
	}
	for _, w := range was {
		if !slices.Contains(now, w) {
			ws = append(ws, store.Delete(store.Users, foundKey(w, user)))
		}
	}
	return ws
}

// Found is a user whom a search found.
type Found struct {
	User    string
	Profile Profile
	// Exact says that the user's whole name was searched for.
	Exact bool
}

// Find returns local users by the beginnings of words of their user ids and
// display names: each word of the term begins one. Those of whom a whole word
// was named come first. all is false if there may be more than the search looked
// at.
func (s *Service) Find(ctx context.Context, term string) (found []Found, all bool, err error) {
	if name, server, ok := strings.Cut(term, ":"); ok && strings.HasPrefix(name, "@") {
		if !strings.HasPrefix(s.opt.ServerName, strings.ToLower(server)) {
			return nil, true, nil
		}
		term = name
	}
	want := words(term)
	if len(want) == 0 {
		return nil, true, nil
	}
	// The longest word is in the fewest names.
	longest := slices.MaxFunc(want, func(a, b string) int { return len(a) - len(b) })
	page, err := s.opt.DB.Query(ctx, store.Query{Table: store.Users, Part: foundPart(longest), Limit: maxFound}.Prefix(longest))
	if err != nil {
		return nil, false, fmt.Errorf("find users: %w", err)
	}
	seen := map[string]bool{}
	var users []string
	for _, it := range page.Items {
		// A user id has an @ first, and a word has none.
		if i := strings.Index(it.Key.Sort, "#@"); i >= 0 && !seen[it.Key.Sort[i+1:]] {
			seen[it.Key.Sort[i+1:]] = true
			users = append(users, it.Key.Sort[i+1:])
		}
	}
	profiles, err := s.profiles(ctx, users)
	if err != nil {
		return nil, false, err
	}
	for _, user := range users {
		p, ok := profiles[user]
		if !ok || !begins(want, names(user, p)) {
			continue
		}
		exact := slices.Equal(want, words(id.Localpart(user))) || slices.Equal(want, words(p.DisplayName()))
		found = append(found, Found{user, p, exact})
	}
	slices.SortStableFunc(found, func(a, b Found) int { return rank(b) - rank(a) })
	return found, page.Next == "", nil
}

func rank(f Found) int {
	n := 0
	if f.Exact {
		n += 2
	}
	if f.Profile.DisplayName() != "" || f.Profile.AvatarURL() != "" {
		n++
	}
	return n
}

// begins reports whether each of the words begins one of the names.
func begins(want, names []string) bool {
	for _, w := range want {
		if !slices.ContainsFunc(names, func(name string) bool { return strings.HasPrefix(name, w) }) {
			return false
		}
	}
	return true
}

// profiles returns the profiles of those of the users who have one.
func (s *Service) profiles(ctx context.Context, users []string) (map[string]Profile, error) {
	refs := make([]store.Ref, len(users))
	byPart := make(map[string]string, len(users))
	for i, user := range users {
		refs[i] = store.Ref{Table: store.Users, Key: profileKey(user)}
		byPart[refs[i].Key.Part] = user
	}
	items, err := store.GetAll(ctx, s.opt.DB, refs, store.Eventual)
	if err != nil {
		return nil, fmt.Errorf("read profiles: %w", err)
	}
	profiles := make(map[string]Profile, len(items))
	for _, it := range items {
		row := profileRow{Fields: Profile{}}
		if err := store.Decode(it, &row); err != nil {
			return nil, err
		}
		profiles[byPart[it.Key.Part]] = row.Fields
	}
	return profiles, nil
}
