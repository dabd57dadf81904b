package rooms

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/virga-im/virga/events/auth"
	"github.com/virga-im/virga/events/roomversion"
)

// specRooms is the prose of the specification, where there is a copy of it.
const specRooms = "../../../shared/spec/content/rooms/"

var (
	item     = regexp.MustCompile(`^( *)(\d+)\. +(.*)$`)
	fragment = regexp.MustCompile(`name="(v\d+-auth-rules)"`)
	rejects  = regexp.MustCompile(`(?i)\breject\b|allow if and only if`)
)

// TestRulesHaveTheNumbersOfTheSpecification compares the numbers of rejections
// with those of the sentences that reject, in every room version.
func TestRulesHaveTheNumbersOfTheSpecification(t *testing.T) {
	for _, v := range roomversion.All() {
		prose, err := os.ReadFile(specRooms + "v" + v.ID + ".md")
		if err != nil {
			t.Skip("no copy of the specification: ", err)
		}
		if m := fragment.FindSubmatch(prose); m != nil {
			if prose, err = os.ReadFile(specRooms + "fragments/" + string(m[1]) + ".md"); err != nil {
				t.Fatal(err)
			}
		}
		want := map[string]bool{}
		for number, sentence := range rulesIn(string(prose)) {
			if rejects.MatchString(sentence) {
				want[number] = true
			}
			if strings.HasPrefix(sentence, "Considering the event's `auth_events`") {
				want[number] = true // ours for auth events that nobody has
			}
		}
		got := map[string]bool{}
		for _, number := range auth.Rules(v) {
			got[number] = true
		}
		if !maps.Equal(got, want) {
			t.Errorf("version %s:\nours %v\nspec %v", v.ID, slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
		}
	}
}

// rulesIn reads the nested list of rules: the text of each item by its number,
// as the prose numbers it.
func rulesIn(prose string) map[string]string {
	rules := map[string]string{}
	var indents []int
	var numbers []string
	for line := range strings.Lines(prose[strings.Index(prose, "\n1.  "):]) {
		line = strings.TrimRight(line, "\n")
		if strings.HasPrefix(line, "{{%") || strings.HasPrefix(line, "#") {
			break
		}
		m := item.FindStringSubmatch(line)
		if m == nil {
			if number := strings.Join(numbers, "."); number != "" {
				rules[number] += " " + strings.TrimSpace(line)
			}
			continue
		}
		indent := len(m[1])
		for len(indents) > 0 && indents[len(indents)-1] >= indent {
			indents, numbers = indents[:len(indents)-1], numbers[:len(numbers)-1]
		}
		indents, numbers = append(indents, indent), append(numbers, m[2])
		rules[strings.Join(numbers, ".")] += strings.TrimSpace(m[3])
	}
	return rules
}
