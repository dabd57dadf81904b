// Package template reads what CDK writes: the folder cdk.out, from its manifest
// to the template of the stack and the files that the stack uploads. It answers
// what CloudFormation would put in the place of an intrinsic function.
//
// What exists only once a stack is deployed, such as ids, is made up here, always
// the same way. Values that somebody else makes, such as the attributes of custom
// resources, come from Template.Value.
package template

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// The account and region that a template is read for unless Pseudo says
// otherwise.
const (
	Account = "123456789012"
	Region  = "us-east-1"
)

// Template is a stack that was synthesised and not deployed.
type Template struct {
	// Stack is the name of the stack.
	Stack string
	// Bytes is the length of the template's text.
	Bytes int
	// Tags are those of the stack itself.
	Tags map[string]string
	// Resources are the resources by logical id, with their intrinsic functions.
	Resources map[string]Resource
	// Outputs are the outputs by logical id.
	Outputs map[string]Output
	// Pseudo holds the values of pseudo parameters such as AWS::Region.
	Pseudo map[string]string
	// Value, unless nil, is asked first for an attribute of a resource, or with
	// an empty attribute for its Ref.
	Value func(id, attribute string) (any, bool)

	assets map[string]string // path by object key
}

// Resource is a resource as the template has it.
type Resource struct {
	Type           string
	Properties     map[string]any
	DeletionPolicy string
	DependsOn      []string
}

// Output is a value that a stack tells whoever deployed it.
type Output struct {
	Value       any
	Description string
}

// Read reads the folder that CDK wrote, which must hold exactly one stack.
func Read(dir string) (*Template, error) {
	var manifest struct {
		Artifacts map[string]struct {
			Type       string
			Properties struct {
				TemplateFile string
				File         string
				Tags         map[string]string
			}
		}
	}
	if _, err := readJSON(filepath.Join(dir, "manifest.json"), &manifest); err != nil {
		return nil, err
	}
	var t *Template
	assets := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(manifest.Artifacts)) {
		a := manifest.Artifacts[name]
		switch a.Type {
		case "aws:cloudformation:stack":
			if t != nil {
				return nil, fmt.Errorf("%s holds two stacks, %s and %s", dir, t.Stack, name)
			}
			t = &Template{Stack: name, Tags: a.Properties.Tags, assets: assets, Pseudo: map[string]string{
				"AWS::Partition": "aws", "AWS::Region": Region, "AWS::AccountId": Account,
				"AWS::URLSuffix": "amazonaws.com", "AWS::StackName": name,
			}}
			var err error
			if t.Bytes, err = readJSON(filepath.Join(dir, a.Properties.TemplateFile), t); err != nil {
				return nil, err
			}
		case "cdk:asset-manifest":
			if err := readAssets(dir, a.Properties.File, assets); err != nil {
				return nil, err
			}
		}
	}
	if t == nil {
		return nil, fmt.Errorf("%s holds no stack", dir)
	}
	return t, nil
}

func readAssets(dir, file string, assets map[string]string) error {
	var manifest struct {
		Files map[string]struct {
			Source       struct{ Path string }
			Destinations map[string]struct{ ObjectKey string }
		}
	}
	if _, err := readJSON(filepath.Join(dir, file), &manifest); err != nil {
		return err
	}
	for _, f := range manifest.Files {
		for _, to := range f.Destinations {
			assets[to.ObjectKey] = filepath.Join(dir, f.Source.Path)
		}
	}
	return nil
}

func readJSON(path string, into any) (bytes int, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	if err := json.Unmarshal(text, into); err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	return len(text), nil
}

// Asset returns the file, or the folder if it is uploaded as an archive, that
// becomes the object of this key in the bucket of assets.
func (t *Template) Asset(key string) (path string, err error) {
	path, ok := t.assets[key]
	if !ok {
		return "", fmt.Errorf("no asset of the stack %s is uploaded as %s", t.Stack, key)
	}
	return path, nil
}

// All returns the resources of a type by logical id.
func (t *Template) All(typ string) map[string]Resource {
	found := map[string]Resource{}
	for id, r := range t.Resources {
		if r.Type == typ {
			found[id] = r
		}
	}
	return found
}

// IDs returns the sorted logical ids of the resources of a type.
func (t *Template) IDs(typ string) []string { return slices.Sorted(maps.Keys(t.All(typ))) }

// Properties returns the properties of a resource, resolved.
func (t *Template) Properties(id string) (map[string]any, error) {
	r, ok := t.Resources[id]
	if !ok {
		return nil, fmt.Errorf("the stack %s has no resource %s", t.Stack, id)
	}
	v, err := t.Resolve(r.Properties)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", id, err)
	}
	return v.(map[string]any), nil
}

// Decode writes the resolved properties of a resource into a value, as
// encoding/json does.
func (t *Template) Decode(id string, into any) error {
	p, err := t.Properties(id)
	if err != nil {
		return err
	}
	text, err := json.Marshal(p)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("%s: %w", id, err)
	}
	return nil
}

// LogicalID returns the resource of a type whose Ref or name is given, such as
// the function of a name or the table of a name.
func (t *Template) LogicalID(typ, name string) (id string, ok bool) {
	for _, id := range t.IDs(typ) {
		if t.Physical(id) == name {
			return id, true
		}
		if ref, err := t.Ref(id); err == nil && ref == name {
			return id, true
		}
	}
	return "", false
}

// Name returns the last part of an ARN: the name of what it is about.
func Name(arn string) string {
	return arn[strings.LastIndexAny(arn, ":/")+1:]
}
