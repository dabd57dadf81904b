package push_test

import (
	"bytes"
	"encoding/json"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/virga-im/virga/shared/push"
)

// specPush is the prose of the specification, where there is a copy of it.
const specPush = "../../../shared/spec/content/client-server-api/modules/push.md"

func TestDefaultRulesAreThoseOfTheSpecification(t *testing.T) {
	prose, err := os.ReadFile(specPush)
	if err != nil {
		t.Skip("no copy of the specification: ", err)
	}
	const user = "@alice:example.org"
	got := push.DefaultRules(user).Global
	rest := string(prose)
	for _, section := range []struct {
		heading, end string
		rules        []push.Rule
	}{
		{"##### Default Override Rules", "##### Default Underride Rules", got.Override},
		{"##### Default Underride Rules", "#### Push Rules: API", got.Underride},
	} {
		text := rest[strings.Index(rest, section.heading):strings.Index(rest, section.end)]
		text = strings.ReplaceAll(text, "[the user's Matrix ID]", user)
		blocks := regexp.MustCompile("(?s)```json\n(.*?)```").FindAllStringSubmatch(text, -1)
		if len(blocks) != len(section.rules) {
			t.Fatalf("%s: the specification has %d rules, we have %d", section.heading, len(blocks), len(section.rules))
		}
		for i, b := range blocks {
			var want, have any
			if err := json.Unmarshal([]byte(b[1]), &want); err != nil {
				t.Fatal(err)
			}
			raw, err := json.Marshal(section.rules[i])
			if err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(raw, &have); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(have, want) {
				t.Errorf("have %s\nwant %s", raw, bytes.Join(bytes.Fields([]byte(b[1])), []byte(" ")))
			}
		}
	}
}

func TestFindLooksInOneKind(t *testing.T) {
	rules := push.DefaultRules("@alice:example.org").Global
	if r, ok := rules.Find("underride", ".m.rule.call"); !ok || r.ID != ".m.rule.call" {
		t.Errorf("found %v, %v", r, ok)
	}
	for _, kind := range []string{"override", "nonsense"} {
		if _, ok := rules.Find(kind, ".m.rule.call"); ok {
			t.Errorf("found an underride among %q", kind)
		}
	}
}
