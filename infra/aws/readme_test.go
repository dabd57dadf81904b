package main

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// What the texts say after -c, and which outputs they tell of, there is.
func TestTheTextsSayWhatThereIs(t *testing.T) {
	stack, err := os.ReadFile("stack.go")
	if err != nil {
		t.Fatal(err)
	}
	alarms, err := os.ReadFile("alarms.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"README.md", "../../README.md"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		said := regexp.MustCompile("-c ([A-Za-z]+)[= `]").FindAllSubmatch(text, -1)
		if len(said) == 0 {
			t.Errorf("%s says nothing after -c", file)
		}
		for _, m := range said {
			if !slices.Contains(allWords(), string(m[1])) {
				t.Errorf("%s says -c %s, and there is no such word", file, m[1])
			}
		}
		for _, m := range regexp.MustCompile(`npx cdk (\w+)`).FindAllSubmatch(text, -1) {
			if !slices.Contains([]string{"bootstrap", "deploy", "diff", "destroy"}, string(m[1])) {
				t.Errorf("%s says npx cdk %s", file, m[1])
			}
		}
		for _, m := range regexp.MustCompile("outputs? `(\\w+)`").FindAllSubmatch(text, -1) {
			if name := `"` + string(m[1]) + `"`; !strings.Contains(string(stack), name) && !strings.Contains(string(alarms), name) {
				t.Errorf("%s tells of the output %s, which there is not", file, m[1])
			}
		}
	}
}
