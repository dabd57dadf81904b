package config

import (
	"flag"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// Input is where the configuration comes from. All fields may be empty.
type Input struct {
	// Args are the arguments of the command, without its name.
	Args []string
	// Env looks up an environment variable.
	Env func(name string) (string, bool)
	// ReadFile reads the file named by -config or VIRGA_CONFIG.
	ReadFile func(name string) (map[string]any, error)
	// Usage is where the answer to -help goes.
	Usage io.Writer
}

// Load reads the configuration. Its error is a sentence for the administrator,
// or flag.ErrHelp after the usage was written.
func Load(in Input) (*Config, error) {
	given := map[string]string{}
	flags := flag.NewFlagSet("virga", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	for _, s := range settings {
		keep := func(v string) error { given[s.flag] = v; return nil }
		if s.bare {
			flags.BoolFunc(s.flag, s.usage, keep)
		} else {
			flags.Func(s.flag, s.usage, keep)
		}
	}
	file := flags.String("config", "", "")
	switch err := flags.Parse(in.Args); {
	case err == flag.ErrHelp:
		if in.Usage != nil {
			writeUsage(in.Usage)
		}
		return nil, err
	case err != nil:
		return nil, fmt.Errorf("%w; %s-help lists the flags", err, meantFlag(err))
	case flags.NArg() > 0:
		return nil, fmt.Errorf("%q is not a flag; -help lists the flags", flags.Arg(0))
	}

	env := in.Env
	if env == nil {
		env = func(string) (string, bool) { return "", false }
	}
	if v, ok := env("VIRGA_CONFIG"); ok && *file == "" {
		*file = v
	}
	words := map[string]string{}
	if *file != "" {
		if in.ReadFile == nil {
			return nil, fmt.Errorf("there are no configuration files here")
		}
		tree, err := in.ReadFile(*file)
		if err != nil {
			return nil, fmt.Errorf("read the configuration %s: %w", *file, err)
		}
		if words, err = flatten(tree); err != nil {
			return nil, fmt.Errorf("%s: %w", *file, err)
		}
	}

	c := Default()
	for _, s := range settings {
		key := s.word()
		v, from := given[s.flag], "-"+s.flag
		_, set := given[s.flag]
		if e, ok := env(s.env()); ok && !set {
			v, from, set = e, s.env(), true
		}
		if w, ok := words[key]; ok && !set {
			v, from, set = w, key+" in "+*file, true
		}
		delete(words, key)
		if !set {
			continue
		}
		if err := s.set(&c, v); err != nil {
			return nil, fmt.Errorf("%s: %w", from, err)
		}
		if s.pending {
			c.pending = append(c.pending, "-"+s.flag)
		}
	}
	if len(words) > 0 {
		unknown := slices.Sorted(maps.Keys(words))
		for i, word := range unknown {
			unknown[i] += hint(word)
		}
		return nil, fmt.Errorf("%s: this version does not know %s", *file, strings.Join(unknown, ", "))
	}
	return &c, c.check()
}

// hint says what a key that nobody knows may have meant: what Synapse's listeners
// are here, or a key that is written almost like it.
func hint(word string) string {
	switch word {
	case "listeners":
		return " (write client_listen, federation_listen and trusted_proxies)"
	case "x_forwarded":
		return " (write trusted_proxies, with the addresses of the proxies)"
	}
	for _, s := range settings {
		if typos(word, s.word()) <= 2 {
			return " (" + s.word() + "?)"
		}
	}
	return ""
}

// meantFlag says which flag an error of an unknown one may be about.
func meantFlag(err error) string {
	_, name, _ := strings.Cut(err.Error(), "not defined: -")
	for _, s := range settings {
		if name != "" && typos(name, s.flag) <= 2 {
			return "did you mean -" + s.flag + "? "
		}
	}
	return ""
}

// typos counts the letters to add, drop or replace between two words.
func typos(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replace := diagonal
			if a[i] != b[j] {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = min(replace, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// flatten turns a file into single values by key. It knows the few keys that
// Synapse writes in another form.
func flatten(tree map[string]any) (map[string]string, error) {
	words := map[string]string{}
	for key, v := range tree {
		if m, ok := v.(map[string]any); ok && key == "presence" {
			v = m["enabled"]
		} else if ok && strings.HasPrefix(key, "rc_") {
			v = synapseRate(m)
		}
		text, err := scalar(v)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		words[key] = text
	}
	// enable_registration and registration_requires_token together are one word.
	if enabled, ok := words["enable_registration"]; ok {
		who := RegistrationClosed
		if enabled == "true" {
			who = RegistrationOpen
			if words["registration_requires_token"] == "true" {
				who = RegistrationToken
			}
		}
		if _, both := words["registration"]; both {
			return nil, fmt.Errorf("registration and enable_registration say the same: keep one")
		}
		words["registration"] = string(who)
		delete(words, "enable_registration")
	}
	delete(words, "registration_requires_token") // means nothing alone
	return words, nil
}

// synapseRate is a rate as Synapse writes it: per_second and burst_count, for some
// keys one deeper, by what they count.
func synapseRate(m map[string]any) any {
	for _, by := range []string{"address", "local"} {
		if inner, ok := m[by].(map[string]any); ok {
			m = inner
		}
	}
	if m["per_second"] == nil || m["burst_count"] == nil {
		return m
	}
	return fmt.Sprint(m["per_second"], "/", m["burst_count"])
}

func scalar(v any) (string, error) {
	switch v := v.(type) {
	case nil:
		return "", nil
	case string:
		return v, nil
	case bool, int, int64, uint64, float64:
		return fmt.Sprint(v), nil
	case map[string]any: // an entry of trusted_key_servers
		if name, ok := v["server_name"].(string); ok {
			return name, nil
		}
	case []any:
		var all []string
		for _, e := range v {
			s, err := scalar(e)
			if err != nil {
				return "", err
			}
			all = append(all, s)
		}
		return strings.Join(all, ","), nil
	}
	return "", fmt.Errorf("a text, a number, true, false or a list is expected")
}

func writeUsage(w io.Writer) {
	fmt.Fprint(w, "Virga, a Matrix homeserver in one process and one folder.\n\n")
	for _, s := range settings {
		note := ""
		if s.pending {
			note = " (no effect yet)"
		}
		fmt.Fprintf(w, "  %s\n        %s%s\n", strings.TrimSpace("-"+s.flag+" "+s.value), s.usage, note)
	}
	fmt.Fprint(w, "  -config file\n        a YAML file with the same words, such as server_name: example.org\n\n")
	fmt.Fprint(w, "Each flag is also an environment variable: -server-name is VIRGA_SERVER_NAME.\n")
}
