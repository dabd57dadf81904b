package accounts

import (
	"strings"
	"testing"
	"time"
)

func TestPasswordHashes(t *testing.T) {
	s := New(Options{PasswordCost: "min"})
	phc, err := s.hashPassword(t.Context(), "sesame")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		phc, password string
		right         bool
	}{
		{phc, "sesame", true},
		{phc, "Sesame", false},
		{phc, "", false},
		{"", "", false},
		{"", "sesame", false},
		// From the reference implementation: echo -n password | argon2 somesalt -id -t 2 -k 65536 -p 1
		{"$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc", "password", true},
		{"$2b$04$notabcrypthash", "sesame", false},
	} {
		if right, err := s.checkPassword(t.Context(), c.phc, c.password); err != nil || right != c.right {
			t.Errorf("%q against %q: %v, %v", c.password, c.phc, right, err)
		}
	}
	for _, bad := range []string{"plain", "$argon2i$v=19$m=8,t=1,p=1$AAAA$AAAA", strings.Replace(phc, "t=1", "t=0", 1),
		strings.Replace(phc, "m=8", "m=9999999", 1), phc[:len(phc)-30], strings.Replace(phc, "p=1", "p=x", 1)} {
		if _, err := s.checkPassword(t.Context(), bad, "sesame"); err == nil {
			t.Errorf("%q is no hash, and was judged", bad)
		}
	}
}

// FuzzParseToken finds tokens that are not their own text.
func FuzzParseToken(f *testing.F) {
	s := New(Options{})
	t, err := s.newTokens(false, time.Now())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(token{accessPrefix, t.session, t.access}.String())
	f.Add("vat_")
	f.Fuzz(func(t *testing.T, text string) {
		if tok, ok := parseToken(accessPrefix, text); ok && tok.String() != text {
			t.Errorf("%q was read as %q", text, tok)
		}
	})
}

// BenchmarkPassword is what a login costs a processor.
func BenchmarkPassword(b *testing.B) {
	s := New(Options{})
	for b.Loop() {
		if _, err := s.hashPassword(b.Context(), "sesame"); err != nil {
			b.Fatal(err)
		}
	}
}
