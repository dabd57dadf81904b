// Package blobtest is the contract of blob.Store as a test. Every test works
// under a prefix of its own, so that one bucket serves them all.
package blobtest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/virga-im/virga/shared/blob"
	"github.com/virga-im/virga/shared/grant"
)

// Context returns ctx with grants for all objects.
func Context(ctx context.Context) context.Context {
	return grant.With(ctx, "blobtest", grant.Of(grant.ReadBlobs(""), grant.WriteBlobs("")), nil)
}

// Run tests the contract. open is called once and registers its own cleanup.
func Run(t *testing.T, open func(t *testing.T) blob.Store) {
	b := open(t)
	for _, test := range []struct {
		name string
		run  func(*suite)
	}{
		{"Objects", testObjects},
		{"Sizes", testSizes},
		{"WholeOrNotAtAll", testWholeOrNotAtAll},
		{"Replace", testReplace},
		{"Delete", testDelete},
		{"List", testList},
		{"Keys", testKeys},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.run(&suite{T: t, Store: b, ctx: Context(t.Context()), prefix: "blobtest/" + rand.Text() + "/"})
		})
	}
}

type suite struct {
	*testing.T
	blob.Store
	ctx    context.Context
	prefix string
}

func (s *suite) put(key, content string) {
	s.Helper()
	if err := s.Put(s.ctx, s.prefix+key, "text/plain", strings.NewReader(content), int64(len(content))); err != nil {
		s.Fatalf("put %s: %v", key, err)
	}
}

func (s *suite) get(key string) string {
	s.Helper()
	r, m, err := s.Get(s.ctx, s.prefix+key)
	if err != nil {
		s.Fatalf("get %s: %v", key, err)
	}
	content, err := io.ReadAll(r)
	if err = errors.Join(err, r.Close()); err != nil {
		s.Fatalf("read %s: %v", key, err)
	}
	if m.Size != int64(len(content)) || m.Key != s.prefix+key {
		s.Errorf("get %s: %d bytes, described as %+v", key, len(content), m)
	}
	return string(content)
}

func (s *suite) missing(key string) {
	s.Helper()
	if _, _, err := s.Get(s.ctx, s.prefix+key); !errors.Is(err, blob.ErrNotFound) {
		s.Errorf("get %s: %v, want none", key, err)
	}
	if _, err := s.Stat(s.ctx, s.prefix+key); !errors.Is(err, blob.ErrNotFound) {
		s.Errorf("stat %s: %v, want none", key, err)
	}
}

func testObjects(s *suite) {
	s.missing("a")
	before := time.Now()
	if err := s.Put(s.ctx, s.prefix+"a", "image/png; x=\"ü\"", strings.NewReader("abc"), 3); err != nil {
		// Headers are ASCII on S3; a store may refuse others.
		if err := s.Put(s.ctx, s.prefix+"a", "image/png", strings.NewReader("abc"), 3); err != nil {
			s.Fatal(err)
		}
	}
	if got := s.get("a"); got != "abc" {
		s.Errorf("got %q", got)
	}
	m, err := s.Stat(s.ctx, s.prefix+"a")
	if err != nil || m.Key != s.prefix+"a" || m.Size != 3 || !strings.HasPrefix(m.ContentType, "image/png") {
		s.Errorf("stat: %+v, %v", m, err)
	}
	if d := m.Modified.Sub(before); d < -5*time.Second || d > 5*time.Minute {
		s.Errorf("modified %s after now", d)
	}
	// A key may be the folder of another.
	s.put("a/b", "below")
	s.put("a/b/c", "below that")
	if s.get("a") != "abc" || s.get("a/b") != "below" || s.get("a/b/c") != "below that" {
		s.Error("keys that are folders of each other share their content")
	}
}

func testSizes(s *suite) {
	big := make([]byte, 9<<20)
	for i := range big {
		big[i] = byte(i * i >> 7)
	}
	for _, n := range []int{0, 1, 4096, 5<<20 - 1, len(big)} {
		for _, size := range []int64{int64(n), -1} {
			key := fmt.Sprint(n, "-", size)
			// The reader gives little at a time and cannot seek.
			r := struct{ io.Reader }{bytes.NewReader(big[:n])}
			if err := s.Put(s.ctx, s.prefix+key, "application/octet-stream", r, size); err != nil {
				s.Errorf("put of %d bytes, told as %d: %v", n, size, err)
				continue
			}
			if got := s.get(key); got != string(big[:n]) {
				s.Errorf("put of %d bytes, told as %d: %d came back", n, size, len(got))
			}
		}
	}
}

func testWholeOrNotAtAll(s *suite) {
	s.put("kept", "old")
	for name, put := range map[string]func(key string) error{
		"a reader that fails": func(key string) error {
			r := io.MultiReader(strings.NewReader("half"), iotest.ErrReader(errors.New("broken")))
			return s.Put(s.ctx, key, "text/plain", r, -1)
		},
		"fewer bytes than told": func(key string) error {
			return s.Put(s.ctx, key, "text/plain", strings.NewReader("half"), 8)
		},
		"more bytes than told": func(key string) error {
			return s.Put(s.ctx, key, "text/plain", strings.NewReader("too much"), 4)
		},
		"a context that ended": func(key string) error {
			ctx, cancel := context.WithCancel(s.ctx)
			cancel()
			return s.Put(ctx, key, "text/plain", strings.NewReader("half"), 4)
		},
	} {
		if err := put(s.prefix + "new"); err == nil {
			s.Errorf("%s: put", name)
		}
		s.missing("new")
		if err := put(s.prefix + "kept"); err == nil {
			s.Errorf("%s: replaced", name)
		}
		if got := s.get("kept"); got != "old" {
			s.Errorf("%s: the old object is %q", name, got)
		}
	}
}

// testReplace reads while others write: a reader sees one object or another.
func testReplace(s *suite) {
	content := func(i int) string { return strings.Repeat(string(rune('a'+i)), 20_000+1000*i) }
	s.put("k", content(0))
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for range 5 {
				s.put("k", content(i))
				got := s.get("k")
				if j := int(got[0] - 'a'); got != content(j) {
					s.Errorf("read a mixture of %d bytes", len(got))
				}
			}
		})
	}
	wg.Wait()
	s.put("k", "short")
	if got := s.get("k"); got != "short" {
		s.Errorf("got %d bytes after the last put", len(got))
	}
}

func testDelete(s *suite) {
	s.put("a", "x")
	s.put("a/b", "y")
	for range 2 { // the second time there is none
		if err := s.Delete(s.ctx, s.prefix+"a"); err != nil {
			s.Fatal(err)
		}
		s.missing("a")
	}
	if got := s.get("a/b"); got != "y" {
		s.Errorf("got %q", got)
	}
	s.put("a", "again")
	if got := s.get("a"); got != "again" {
		s.Errorf("got %q", got)
	}
	r, _, err := s.Get(s.ctx, s.prefix+"a")
	if err != nil {
		s.Fatal(err)
	}
	defer r.Close()
	if err := s.Delete(s.ctx, s.prefix+"a"); err != nil {
		s.Fatal(err)
	}
	if got, err := io.ReadAll(r); err != nil || string(got) != "again" {
		s.Errorf("an open object that was deleted: %q, %v", got, err)
	}
}

func testList(s *suite) {
	keys := []string{"A", "a", "a-b", "a.b", "a/b", "a/c", "a0", "ab", "b", "b/c/d", "~"}
	for i, k := range keys {
		s.put(k, strings.Repeat("x", i))
	}
	list := func(prefix, after string, limit int) string {
		s.Helper()
		if after != "" {
			after = s.prefix + after
		}
		metas, err := s.List(s.ctx, s.prefix+prefix, after, limit)
		if err != nil {
			s.Fatalf("list: %v", err)
		}
		var got []string
		for _, m := range metas {
			got = append(got, strings.TrimPrefix(m.Key, s.prefix))
			if m.Modified.IsZero() {
				s.Errorf("%s: no time", m.Key)
			}
			for i, k := range keys {
				if m.Key == s.prefix+k && m.Size != int64(i) {
					s.Errorf("%s: %d bytes, want %d", k, m.Size, i)
				}
			}
		}
		return strings.Join(got, " ")
	}
	for _, c := range []struct {
		prefix, after string
		limit         int
		want          string
	}{
		{"", "", 100, "A a a-b a.b a/b a/c a0 ab b b/c/d ~"},
		{"", "", 3, "A a a-b"},
		{"", "a-b", 3, "a.b a/b a/c"},
		{"", "a1", 100, "ab b b/c/d ~"},
		{"", "~", 100, ""},
		{"a", "", 100, "a a-b a.b a/b a/c a0 ab"},
		{"a/", "", 100, "a/b a/c"},
		{"a/", "a/b", 100, "a/c"},
		{"a/", "A", 1, "a/b"},
		{"a/", "b", 100, ""},
		{"nothing", "", 100, ""},
	} {
		if got := list(c.prefix, c.after, c.limit); got != c.want {
			s.Errorf("list %q after %q, %d: got %q, want %q", c.prefix, c.after, c.limit, got, c.want)
		}
	}
}

func testKeys(s *suite) {
	longest := s.prefix + strings.Repeat("k/", 512)
	longest = longest[:1023] + "k"
	for _, key := range []string{"a.b", "..a", "a..", "...", ".a/b.", "AZaz09._~-/x", "a//b"} {
		s.put(key, key)
		if got := s.get(key); got != key {
			s.Errorf("%s: got %q", key, got)
		}
	}
	if err := s.Put(s.ctx, longest, "text/plain", strings.NewReader("x"), 1); err != nil {
		s.Errorf("a key of %d bytes: %v", len(longest), err)
	}
	for _, key := range []string{
		"", "/", "/a", "a/", ".", "..", "a/../b", "../a", "a/./b", "a/..", "a b", "a\x00", "a\\b", "é", "a?b", "a%2Fb", "a:b", "a+b",
		strings.Repeat("k", 1025),
	} {
		if err := s.Put(s.ctx, key, "text/plain", strings.NewReader("x"), 1); err == nil {
			s.Errorf("put of the key %.20q: done", key)
		}
		if r, _, err := s.Get(s.ctx, key); err == nil {
			r.Close()
			s.Errorf("get of the key %.20q: done", key)
		} else if errors.Is(err, blob.ErrNotFound) {
			s.Errorf("get of the key %.20q: %v, want a refusal", key, err)
		}
		if _, err := s.Stat(s.ctx, key); err == nil {
			s.Errorf("stat of the key %.20q: done", key)
		}
		if err := s.Delete(s.ctx, key); err == nil {
			s.Errorf("delete of the key %.20q: done", key)
		}
	}
}
