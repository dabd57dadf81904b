package roomversion_test

import (
	"strconv"
	"testing"

	"github.com/virga-im/virga/events/canonicaljson"
	"github.com/virga-im/virga/events/roomversion"
)

func TestEveryVersionIsKnown(t *testing.T) {
	all := roomversion.All()
	if len(all) != 12 {
		t.Fatalf("%d versions", len(all))
	}
	for i, v := range all {
		got, ok := roomversion.Get(strconv.Itoa(i + 1))
		if !ok || got != v || v.ID != strconv.Itoa(i+1) {
			t.Errorf("version %d: %+v", i+1, got)
		}
	}
	if _, ok := roomversion.Get("13"); ok {
		t.Error("version 13 is known")
	}
	if _, ok := roomversion.Get(roomversion.Default); !ok {
		t.Error("the default is not known")
	}
}

// The feature matrix of https://spec.matrix.org/v1.19/rooms/#feature-matrix and
// the first version of each change.
func TestChangesBeginWhereTheSpecSaysSo(t *testing.T) {
	for name, test := range map[string]struct {
		from, to int
		has      func(*roomversion.Version) bool
	}{
		"state resolution v1":  {1, 1, func(v *roomversion.Version) bool { return v.StateRes == roomversion.StateResV1 }},
		"state resolution v2":  {2, 11, func(v *roomversion.Version) bool { return v.StateRes == roomversion.StateResV2 }},
		"event ids in events":  {1, 2, (*roomversion.Version).GivenEventIDs},
		"base64 event ids":     {3, 3, func(v *roomversion.Version) bool { return v.EventIDs == roomversion.EventIDBase64 }},
		"redaction auth rule":  {1, 2, func(v *roomversion.Version) bool { return v.RedactionRule }},
		"aliases auth rule":    {1, 5, func(v *roomversion.Version) bool { return v.AliasesRule }},
		"long fields":          {1, 10, func(v *roomversion.Version) bool { return v.LongFields }},
		"key validity":         {5, 12, func(v *roomversion.Version) bool { return v.KeyValidity }},
		"strict JSON":          {6, 12, func(v *roomversion.Version) bool { return v.JSONMode() == canonicaljson.Strict }},
		"float levels":         {1, 5, func(v *roomversion.Version) bool { return v.FloatLevels }},
		"knocking":             {7, 12, func(v *roomversion.Version) bool { return v.Knock }},
		"restricted":           {8, 12, func(v *roomversion.Version) bool { return v.Restricted && v.KeepAllow }},
		"authorised kept":      {9, 12, func(v *roomversion.Version) bool { return v.KeepAuthorised }},
		"knock_restricted":     {10, 12, func(v *roomversion.Version) bool { return v.KnockRestricted && v.IntegerLevels }},
		"redaction in content": {11, 12, func(v *roomversion.Version) bool { return v.RedactsInContent && v.KeepMore && v.SenderCreates }},
		"creators":             {12, 12, func(v *roomversion.Version) bool { return v.Creators && v.HashRoomIDs }},
	} {
		for i, v := range roomversion.All() {
			if want := i+1 >= test.from && i+1 <= test.to; test.has(v) != want {
				t.Errorf("%s in version %s: %v", name, v.ID, !want)
			}
		}
	}
}
