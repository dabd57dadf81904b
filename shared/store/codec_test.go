package store_test

import (
	"reflect"
	"testing"

	"github.com/virga-im/virga/shared/store"
)

type row struct {
	Key    string   `db:"-"`
	Plain  string   `db:"s"`
	Count  uint64   `db:"n"`
	Signed int32    `db:"i"`
	Flag   bool     `db:"b,omitempty"`
	Data   []byte   `db:"d"`
	List   []string `db:"l,omitempty"`
	Other  string
}

func TestRowsSurviveTheCodec(t *testing.T) {
	in := row{Key: "key", Plain: "text", Count: 1 << 40, Signed: -3, Flag: true, Data: []byte{0, 1}, List: []string{"a", "b"}, Other: "x"}
	a := store.Encode(in)
	if len(a) != 6 {
		t.Errorf("attributes: %v", a)
	}
	out := row{Key: "kept", Other: "kept"}
	if err := store.Decode(store.Item{Attrs: a}, &out); err != nil {
		t.Fatal(err)
	}
	in.Key, in.Other = "kept", "kept"
	if !reflect.DeepEqual(in, out) {
		t.Errorf("got %+v, want %+v", out, in)
	}
}

func TestRowsTolerateMissingAndRefuseWrongAttributes(t *testing.T) {
	out := row{Plain: "default"}
	if err := store.Decode(store.Item{Attrs: store.Attrs{"new": int64(1)}}, &out); err != nil || out.Plain != "default" {
		t.Errorf("%+v, %v", out, err)
	}
	if err := store.Decode(store.Item{Attrs: store.Attrs{"s": int64(1)}}, &out); err == nil {
		t.Error("a number passed for a string")
	}
}
