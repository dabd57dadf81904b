package main

import (
	"testing"

	"github.com/virga-im/virga/tests/rehearsal/template"
)

// untaggable are the types of our resources that AWS knows no tags for.
var untaggable = map[string]bool{
	"AWS::CloudFront::CachePolicy": true,
	"Custom::VirgaKey":             true,
	"Custom::VirgaRemains":         true,
	"Custom::VirgaSecret":          true,
	"AWS::Lambda::Permission":      true,
	"AWS::Lambda::Url":             true,
	"AWS::Route53::RecordSet":      true,
}

// tagsOf reads the tags of a resource, which are a list or a map.
func tagsOf(t *testing.T, r template.Resource) map[string]any {
	t.Helper()
	tags := map[string]any{}
	switch v := r.Properties["Tags"].(type) {
	case map[string]any:
		return v
	case []any:
		for _, tag := range v {
			tags[at(t, tag, "Key").(string)] = at(t, tag, "Value")
		}
	}
	return tags
}

func TestEverythingIsTagged(t *testing.T) {
	tm, tab := fullStack(t)
	for id, r := range tm.Resources {
		tags := tagsOf(t, r)
		if untaggable[r.Type] {
			continue
		}
		if tags["server"] != "example.org" || tags["stage"] != "dev" || tags["section"] == nil {
			t.Errorf("%s, %s: tags %v", id, r.Type, tags)
		}
	}
	for _, r := range tab.routes {
		if !isAdmin(r) {
			if got := tagsOf(t, tm.Resources[functionID(r.Name)])["section"]; got != tab.section(r) {
				t.Errorf("%s is tagged as of %v, want %s", r.Name, got, tab.section(r))
			}
		}
	}
	for id, section := range map[string]string{"RoomsTable": "data", "MediaBucket": "data", "WorkQueue": "data", "Api": "gateway", "SweepTrigger": "workers", "sweep": "workers"} {
		if got := tagsOf(t, tm.Resources[id])["section"]; got != section {
			t.Errorf("%s is tagged as of %v, want %s", id, got, section)
		}
	}
	for _, id := range []string{"Api", "AdminApi"} {
		in := map[any]any{}
		for _, tag := range at(t, tm.one(t, id), "Body", "tags").([]any) {
			in[at(t, tag, "name")] = at(t, tag, tagValue)
		}
		if len(in) != 3 || in["server"] != "example.org" || in["stage"] != "dev" || in["section"] != "gateway" {
			t.Errorf("%s imports a definition with the tags %v", id, in)
		}
	}
	for key, want := range map[string]string{"server": "example.org", "stage": "dev"} {
		if tm.Tags[key] != want {
			t.Errorf("the stack itself has the tags %v", tm.Tags)
		}
	}
}

func TestTagsHoldEveryServerName(t *testing.T) {
	o := options{serverName: "[2001:db8::1]:8448", stage: "dev"}
	if got := o.tags()["server"]; got != "2001:db8::1:8448" {
		t.Errorf("the tag is %q", got)
	}
}
