package words_test

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/virga-im/virga/shared/timeline/words"
)

func texts(list []words.Word) []string {
	var all []string
	for _, w := range list {
		text := w.Text
		if w.Joined {
			text = "+" + text
		}
		all = append(all, text)
	}
	return all
}

func TestTextsAreCutIntoWords(t *testing.T) {
	for text, want := range map[string]string{
		"Hello, World!":              "hello world",
		"don't":                      "don t",
		"https://matrix.org/a_b?c=1": "https matrix org a b c 1",
		"Straße STRASSE ﬁne":         "strasse strasse fine",
		"ｆｕｌｌ ①":                     "full 1",
		"cafe\u0301 Ångström":        "café ångström",
		"Привет МИР":                 "привет мир",
		"東京タワーへ":                     "東 +京 +タ +ワ +ー +へ",
		"abc漢字def":                   "abc +漢 +字 +def",
		"ใหม่":                       "ใ +ห +ม่",
		"한국어 검색":                     "한국어 검색",
		"tea 🍵🍵 👍🏽":                  "tea 🍵 🍵 👍",
		"":                           "",
		"\x00 \u200d -- !":           "",
	} {
		want := strings.Fields(want)
		got := texts(words.Split(text))
		if !slices.Equal(got, want) {
			t.Errorf("%q is cut into %q, not %q", text, got, want)
		}
	}
}

func TestATextHasAtMostSoManyWords(t *testing.T) {
	var many strings.Builder
	for i := range 20_000 {
		fmt.Fprintf(&many, "%d ", i)
	}
	for _, text := range []string{many.String(), strings.Repeat("é", words.MaxText), strings.Repeat("漢", words.MaxText), strings.Repeat("\xff", 3*words.MaxText)} {
		begin := time.Now()
		if keys := words.Keys(text); len(keys) > words.MaxWords {
			t.Errorf("%d keys", len(keys))
		}
		if took := time.Since(begin); took > 5*time.Second {
			t.Errorf("it took %s", took)
		}
	}
	long := strings.Repeat("ß", 5000)
	for _, key := range words.Keys(long) {
		if len(key) > 40 {
			t.Errorf("a key of %d bytes", len(key))
		}
	}
	if n := len(words.ParseQuery(many.String()[:1000]).Keys()); n > 10 {
		t.Errorf("the index is asked for %d words", n)
	}
}

func TestWhatMatches(t *testing.T) {
	for _, c := range []struct {
		query, text string
		want        bool
	}{
		{"martians men", "Men are from Mars, martians too.", true},
		{"martians women", "Men are from Mars, martians too.", false},
		{"mart", "martians", false},
		{"STRASSE", "Die Straße", true},
		{"京都", "東京都", true},
		{"都京", "東京都", false},
		{"東都", "東京都", false},
		{"東 都", "東京都", true},
		{"\"tea\"", "tea", true},
		{"", "tea", false},
		{"!?", "!?", false},
		{strings.Repeat("a", 60), strings.Repeat("a", 61), false},
		{strings.Repeat("a", 60), "x " + strings.Repeat("a", 60), true},
		{"🍵", "more 🍵!", true},
	} {
		q := words.ParseQuery(c.query)
		if _, got := q.Match(c.text); got != c.want {
			t.Errorf("%q matches %q: %v", c.query, c.text, got)
		}
		// Whatever matches has all keys that the index is asked for.
		if _, got := q.Match(c.text); got {
			have := words.Keys(c.text)
			for _, key := range q.Keys() {
				if !slices.Contains(have, key) {
					t.Errorf("%q matches %q, which the index does not have under %q", c.query, c.text, key)
				}
			}
		}
	}
}

func TestTheBetterMatchRanksHigher(t *testing.T) {
	rank := func(query, text string) float64 {
		m, ok := words.ParseQuery(query).Match(text)
		if !ok || m.Rank <= 0 || m.Rank > 2 {
			t.Fatalf("%q ranks %v in %q", query, m.Rank, text)
		}
		return m.Rank
	}
	long := strings.Repeat(" and so on", 50)
	for _, c := range [][3]string{
		{"tea", "tea", "tea" + long},
		{"tea", "tea tea", "tea two"},
		{"green tea", "some green tea, please", "tea for the green ones"},
		{"green tea", "green tea" + long, "tea, green"},
	} {
		if a, b := rank(c[0], c[1]), rank(c[0], c[2]); a <= b {
			t.Errorf("%q: %q ranks %v and %q %v", c[0], c[1], a, c[2], b)
		}
	}
}

func TestWhatIsWrittenIsHighlighted(t *testing.T) {
	for _, c := range [][3]string{
		{"strasse", "Straße und STRASSE", "straße strasse"},
		{"京都", "東京都", "京都"},
		{"tea", "Tea, TEA", "tea"},
	} {
		m, _ := words.ParseQuery(c[0]).Match(c[1])
		if got := strings.Join(m.Written, " "); got != c[2] {
			t.Errorf("%q in %q: %q", c[0], c[1], got)
		}
	}
}

// TestARunIsWhatItWasMadeOf makes runs of random documents, merges them, writes and
// reads them, and looks words up beside a map.
func TestARunIsWhatItWasMadeOf(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 30 {
		var all []words.Entry
		var runs []*words.Run
		for range 1 + rnd.IntN(6) {
			var some []words.Entry
			for range rnd.IntN(300) {
				d := words.Doc{Time: rnd.Int64N(1 << rnd.IntN(53)), Pos: rnd.Uint64() >> rnd.IntN(64), Kind: words.Kind(rnd.IntN(3))}
				var keys []string
				for range rnd.IntN(12) {
					keys = append(keys, fmt.Sprintf("w%d", rnd.IntN(1<<rnd.IntN(14))))
				}
				some = append(some, words.Entry{Doc: d, Keys: keys})
			}
			runs, all = append(runs, words.Build(some)), append(all, some...)
		}
		run := words.Merge(runs...)
		rows := run.Rows()
		read, err := words.Read(rows)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(read.Docs, run.Docs) || !reflect.DeepEqual(read.Words, run.Words) {
			t.Fatal("a run was read as another")
		}
		if words.ID(1, rows) != words.ID(1, words.Merge(runs...).Rows()) || words.ID(1, rows) == words.ID(2, rows) {
			t.Error("a run is not named by its version and content")
		}
		want := map[string]map[words.Doc]bool{"absent": {}}
		for _, e := range all {
			for _, k := range e.Keys {
				if want[k] == nil {
					want[k] = map[words.Doc]bool{}
				}
				want[k][e.Doc] = true
			}
		}
		byName := map[string][]byte{}
		for _, r := range rows {
			if byName[r.Name] = r.Data; len(r.Data) > 9000 {
				t.Errorf("the row %s has %d bytes", r.Name, len(r.Data))
			}
		}
		for key, docs := range want {
			at := ""
			for name := range byName {
				if name <= words.WordsPrefix+key && name > at && strings.HasPrefix(name, words.WordsPrefix) {
					at = name
				}
			}
			found, err := words.Find(byName[at], key)
			if err != nil || len(found) != len(docs) || !slices.IsSorted(found) {
				t.Fatalf("%q is in %d documents and found in %v: %v", key, len(docs), found, err)
			}
			for _, n := range found {
				row, err := words.DecodeDocs(byName[words.DocsRow(n)])
				if err != nil || !docs[row[n%words.DocsPerRow]] {
					t.Fatalf("%q is found in a document that has it not: %v", key, err)
				}
			}
		}
	}
}

func FuzzRows(f *testing.F) {
	f.Add([]byte("\x00\x03tea\x01\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		_, _ = words.DecodeDocs(data)
		_, _ = words.Find(data, "tea")
		_, _ = words.Read([]words.Row{{Name: "D#0000", Data: data}, {Name: "W#", Data: data}})
	})
}

func FuzzSplit(f *testing.F) {
	f.Add("Straße 東京 ใหม่ 👍🏽 don't")
	f.Fuzz(func(t *testing.T, text string) {
		all := words.Split(text)
		for _, w := range all {
			if w.Text == "" || !strings.Contains(strings.ToValidUTF8(text, "\uFFFD"), strings.ToValidUTF8(w.Written, "\uFFFD")) {
				t.Fatalf("%+v in %q", w, text)
			}
		}
		if len(all) == 0 {
			return
		}
		if _, ok := words.ParseQuery(text).Match(text); !ok && len(text) < 100 {
			t.Fatalf("%q does not match itself", text)
		}
	})
}
