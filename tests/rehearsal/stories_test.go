package rehearsal

import (
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/virga-im/virga/shared/config"
	"github.com/virga-im/virga/tests/scripts"
)

// different are the scripts that AWS tells otherwise, and why.
var different = map[string]string{
	"head": "an HTTP API does not take HEAD for GET, and the answer is 405",
}

// TestStoriesHoldInTheDeployedShape runs the request scripts against a stack:
// what holds locally holds there. A script whose server has a setting for which
// there is no word of -c is skipped, and says which.
func TestStoriesHoldInTheDeployedShape(t *testing.T) {
	files, err := filepath.Glob("../scripts/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	known := words(t)
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".txt")
		t.Run(name, func(t *testing.T) {
			if why, ok := different[name]; ok {
				t.Skip(why)
			}
			s, err := scripts.Parse(file)
			if err != nil {
				t.Fatal(err)
			}
			context := map[string]string{"registration": "open", "rateLimits": "off", "presence": "off"}
			if missing := contextOf(t, s.Flags, known, context); missing != "" {
				t.Skip(missing)
			}
			t.Parallel()
			stack := Deploy(t, Options{Context: context})
			s.Vars = map[string]string{"base": stack.PublicURL}
			s.Run(t, stack, ServerName)
			uses.finish(t, stack)
		})
	}
}

// words returns the words that may follow -c, which the CDK app says to whoever
// uses one that there is not.
func words(t *testing.T) []string {
	needs(t)
	if err := shop.build(); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(shop.app, "-c", "noSuchWord=x")
	cmd.Dir = shop.dir // where it begins to write
	out, err := cmd.CombinedOutput()
	m := regexp.MustCompile(`there is no such word; there are (.*)`).FindSubmatch(out)
	if err == nil || m == nil {
		t.Fatalf("the app does not say which words there are: %v, %s", err, out)
	}
	return strings.Split(string(m[1]), ", ")
}

var hyphen = regexp.MustCompile(`-[a-z]`)

// contextOf writes flags of the local server as words of a stack. It returns what
// there is no word for, unless it is the default anyway.
func contextOf(t *testing.T, flags, known []string, context map[string]string) (missing string) {
	t.Helper()
	for len(flags) > 0 {
		flag, value, given := strings.Cut(strings.TrimLeft(flags[0], "-"), "=")
		args := flags[:1]
		flags = flags[1:]
		if !given && len(flags) > 0 && !strings.HasPrefix(flags[0], "-") {
			value, args = flags[0], slices.Concat(args, flags[:1])
			flags = flags[1:]
		}
		word := hyphen.ReplaceAllStringFunc(flag, func(s string) string { return strings.ToUpper(s[1:]) })
		if slices.Contains(known, word) {
			context[word] = value
			continue
		}
		with, err := config.Load(config.Input{Args: args})
		without := config.Default()
		if err != nil || !reflect.DeepEqual(*with, without) {
			return "no word of a stack stands for -" + flag
		}
	}
	return ""
}
