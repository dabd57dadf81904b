package canonicaljson_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/virga-im/virga/events/canonicaljson"
)

// The examples of https://spec.matrix.org/v1.19/appendices/#canonical-json.
func TestSpecExamples(t *testing.T) {
	for _, test := range []struct {
		in, out string
		mode    canonicaljson.Mode
	}{
		{`{}`, `{}`, canonicaljson.Strict},
		{"{\n    \"one\": 1,\n    \"two\": \"Two\"\n}", `{"one":1,"two":"Two"}`, canonicaljson.Strict},
		{`{"b": "2", "a": "1"}`, `{"a":"1","b":"2"}`, canonicaljson.Strict},
		{`{"b":"2","a":"1"}`, `{"a":"1","b":"2"}`, canonicaljson.Strict},
		{`{"auth": {"success": true, "mxid": "@john.doe:example.com", "profile": {"display_name": "John Doe",
			"three_pids": [{"medium": "email", "address": "john.doe@example.org"}, {"medium": "msisdn", "address": "123456789"}]}}}`,
			`{"auth":{"mxid":"@john.doe:example.com","profile":{"display_name":"John Doe","three_pids":[{"address":"john.doe@example.org","medium":"email"},{"address":"123456789","medium":"msisdn"}]},"success":true}}`,
			canonicaljson.Strict},
		{`{"a": "日本語"}`, `{"a":"日本語"}`, canonicaljson.Strict},
		{`{"本": 2, "日": 1}`, `{"日":1,"本":2}`, canonicaljson.Strict},
		{`{"a": "\u65E5"}`, `{"a":"日"}`, canonicaljson.Strict},
		{`{"a": null}`, `{"a":null}`, canonicaljson.Strict},
		{`{"a": -0, "b": 1e10}`, `{"a":0,"b":10000000000}`, canonicaljson.Lenient},
	} {
		got, err := canonicaljson.Encode([]byte(test.in), test.mode)
		if err != nil || string(got) != test.out {
			t.Errorf("Encode(%s) = %s, %v; want %s", test.in, got, err, test.out)
		}
	}
}

func TestShortestForm(t *testing.T) {
	for _, test := range []struct{ in, out string }{
		{`"\/\u0041\u00e9\ud83d\ude00"`, `"/Aé😀"`},
		{`"\u0008\u0009\u000a\u000C\u000d\u0022\u005c"`, `"\b\t\n\f\r\"\\"`},
		{`"\u0000\u001F\u007f"`, `"\u0000\u001f` + "\x7f\""},
		{`{"\uFFFF":1,"\uD800\uDC00":2}`, "{\"\uffff\":1,\"\U00010000\":2}"}, // code point, not UTF-16, order
		{`{"b":{"d":1,"c":{"z":0,"y":[{"q":1,"p":2}]}},"a":[]}`, `{"a":[],"b":{"c":{"y":[{"p":2,"q":1}],"z":0},"d":1}}`},
		{` 9007199254740991 `, `9007199254740991`},
		{`-9007199254740991`, `-9007199254740991`},
	} {
		got, err := canonicaljson.Encode([]byte(test.in), canonicaljson.Strict)
		if err != nil || string(got) != test.out {
			t.Errorf("Encode(%s) = %s, %v; want %s", test.in, got, err, test.out)
		}
	}
}

func TestLenientNumbers(t *testing.T) {
	for in, out := range map[string]string{
		`-0`: `0`, `1e3`: `1000`, `1.5e1`: `15`, `1.50`: `1.5`, `1.0`: `1.0`, `-0.0`: `-0.0`,
		`123456789012345678901234567890`: `123456789012345678901234567890`,
		`1e22`:                           `1e+22`, `0.00001`: `1e-05`,
	} {
		got, err := canonicaljson.Encode([]byte(in), canonicaljson.Lenient)
		if err != nil || string(got) != out {
			t.Errorf("Encode(%s) = %s, %v; want %s", in, got, err, out)
		}
	}
}

func TestRefused(t *testing.T) {
	deep := strings.Repeat("[", canonicaljson.MaxDepth+1) + strings.Repeat("]", canonicaljson.MaxDepth+1)
	for _, in := range []string{
		``, ` `, `{`, `[`, `"`, `{"a"}`, `{"a":}`, `{"a":1,}`, `[1,]`, `{,}`, `tru`, `nulll`, `{} {}`, `{}x`, `01`, `-`, `+1`, `.5`,
		`1.`, `1e`, `'a'`, `{a:1}`, `"\x"`, `"\u12"`, `"\u12g4"`, "\"\n\"", "\"\x00\"", "\"\xff\"", "\"\xed\xa0\x80\"", "\"\\n\xff\"",
		`"\ud800"`, `"\udc00"`, `"\ud800\u0041"`, `"\ud800x"`, `"\ud800\ud800"`,
		`{"a":1,"a":2}`, `{"a":1,"b":2,"a":3}`, `{"b":1,"a":2,"b":3}`, `{"a":1,"\u0061":2}`, `{"x":{"b":1,"a":2,"a":3}}`, deep,
	} {
		for _, mode := range []canonicaljson.Mode{canonicaljson.Strict, canonicaljson.Lenient} {
			if got, err := canonicaljson.Encode([]byte(in), mode); !errors.Is(err, canonicaljson.ErrInvalid) {
				t.Errorf("Encode(%.40q) = %.40q, %v; want ErrInvalid", in, got, err)
			}
		}
	}
	for _, in := range []string{`1.0`, `1e1`, `-0`, `9007199254740992`, `-9007199254740992`, `10000000000000000`} {
		if _, err := canonicaljson.Encode([]byte(in), canonicaljson.Strict); err == nil {
			t.Errorf("strict Encode(%s) succeeded", in)
		}
	}
}

func TestReading(t *testing.T) {
	obj := []byte(` { "a" : [1, "x" ,{"b":2}] , "\u0062" : { "c\"d" : -5 } , "n":null, "t" : true } `)
	if got := canonicaljson.Get(obj, "b", `c"d`); string(got) != "-5" {
		t.Errorf("Get = %s", got)
	}
	if canonicaljson.Get(obj, "A") != nil || canonicaljson.Get(obj, "a", "b") != nil {
		t.Error("Get found what is not there")
	}
	if string(canonicaljson.Get(obj, "n")) != "null" {
		t.Error("null is not nil")
	}
	var keys, items []string
	for key := range canonicaljson.Fields(obj) {
		keys = append(keys, key)
	}
	for item := range canonicaljson.Elements(canonicaljson.Get(obj, "a")) {
		items = append(items, string(item))
	}
	if !reflect.DeepEqual(keys, []string{"a", "b", "n", "t"}) || !reflect.DeepEqual(items, []string{"1", `"x"`, `{"b":2}`}) {
		t.Errorf("keys %q, items %q", keys, items)
	}
}

func TestParseGivesSortedMembers(t *testing.T) {
	for _, in := range []string{`{"b":[1,2],"a":"x"}`, `{"a":"x","b":[1,2]}`, ` {"a":"\u0078","b":[1, 2]}`} {
		members, canonical, err := canonicaljson.Parse([]byte(in), canonicaljson.Strict)
		if err != nil || string(canonical) != `{"a":"x","b":[1,2]}` {
			t.Fatalf("Parse(%s): %s %v", in, canonical, err)
		}
		if got := canonicaljson.AppendObject(nil, members); !bytes.Equal(got, canonical) {
			t.Errorf("members of %s: %s", in, got)
		}
	}
	if _, _, err := canonicaljson.Parse([]byte(`[]`), canonicaljson.Strict); err == nil {
		t.Error("an array is not an object")
	}
}

func FuzzEncode(f *testing.F) {
	for _, seed := range []string{`{"b":1,"a":[true,null,"\u00e9"]}`, `[-0,1e10,1.5]`, `"\ud83d\ude00"`, `{"a":{"b":{}}}`, `{"a":1,"a":2}`, event} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		for range canonicaljson.Fields(in) {
		}
		for range canonicaljson.Elements(in) {
		}
		strict, strictErr := canonicaljson.Encode(in, canonicaljson.Strict)
		out, err := canonicaljson.Encode(in, canonicaljson.Lenient)
		if err != nil {
			if strictErr == nil {
				t.Fatalf("strict takes what lenient refuses: %q", in)
			}
			return
		}
		if !json.Valid(in) || !json.Valid(out) {
			t.Fatalf("took invalid JSON %q -> %q", in, out)
		}
		again, err := canonicaljson.Encode(out, canonicaljson.Lenient)
		if err != nil || !bytes.Equal(again, out) {
			t.Fatalf("not idempotent: %q -> %q -> %q, %v", in, out, again, err)
		}
		if strictErr != nil {
			return
		}
		if !bytes.Equal(strict, out) {
			t.Fatalf("strict %q, lenient %q", strict, out)
		}
		if ok, err := canonicaljson.Check(out, canonicaljson.Strict); err != nil || !ok {
			t.Fatalf("%q is not canonical: %v", out, err)
		}
		var a, b any
		if json.Unmarshal(in, &a) != nil || json.Unmarshal(out, &b) != nil || !reflect.DeepEqual(a, b) {
			t.Fatalf("meaning changed: %q -> %q", in, out)
		}
	})
}

const event = `{"auth_events":["$Rqnc-F-dvnEYJTyHq_iKxU2bZ1CI92-kuZq3a5lr5Zg","$Sqnc-F-dvnEYJTyHq_iKxU2bZ1CI92-kuZq3a5lr5Zg","$Tqnc-F-dvnEYJTyHq_iKxU2bZ1CI92-kuZq3a5lr5Zg"],"content":{"body":"The quick brown fox jumps over the lazy dog","m.mentions":{},"msgtype":"m.text"},"depth":1234,"hashes":{"sha256":"thishashcoversallfieldsincasethisisredacted"},"origin_server_ts":1725000000000,"prev_events":["$Uqnc-F-dvnEYJTyHq_iKxU2bZ1CI92-kuZq3a5lr5Zg"],"room_id":"!Nhcu5BS-UMnFX7hBVfVSoXiD7OgH6iRT-xyIuqDnpYQ","sender":"@alice:example.org","signatures":{"example.org":{"ed25519:a_bcd":"KxwGjPSDEtvnFgU00fwFz+l6d2pJM6XBIaMEn81SXPTRl16AqLAYqfIReFGZlHi5KLjAWbOoMszkwsQma+lYAg"}},"type":"m.room.message"}`

func BenchmarkCheck(b *testing.B) {
	raw := []byte(event)
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := canonicaljson.Check(raw, canonicaljson.Strict); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncodeUnsorted(b *testing.B) {
	raw := []byte(`{"type":"m.room.message",` + strings.Replace(event[1:], `,"type":"m.room.message"`, "", 1))
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := canonicaljson.Encode(raw, canonicaljson.Strict); err != nil {
			b.Fatal(err)
		}
	}
}

func TestNumbersInEachMode(t *testing.T) {
	const refused = ""
	for _, test := range []struct{ in, strict, lenient string }{
		{`0`, `0`, `0`},
		{`-1`, `-1`, `-1`},
		{`9007199254740991`, `9007199254740991`, `9007199254740991`},
		{`-9007199254740991`, `-9007199254740991`, `-9007199254740991`},
		{`9007199254740992`, refused, `9007199254740992`},
		{`-9007199254740992`, refused, `-9007199254740992`},
		{`9223372036854775808`, refused, `9223372036854775808`},
		{`-0`, refused, `0`},
		{`-0.0`, refused, `-0.0`},
		{`0.0`, refused, `0.0`},
		{`1.0`, refused, `1.0`},
		{`1.10`, refused, `1.1`},
		{`1e3`, refused, `1000`},
		{`1E+3`, refused, `1000`},
		{`-1.5e1`, refused, `-15`},
		{`1e-2`, refused, `0.01`},
		{`1e15`, refused, `1000000000000000`},
		{`9007199254740991e0`, refused, `9007199254740991`},
		{`1e16`, refused, `1e+16`}, // beyond what an integer may be
		{`1e-7`, refused, `1e-07`},
		{`0.1e1`, refused, `1`},
		{`1e400`, refused, refused},
		{`-1e400`, refused, refused},
		{`00`, refused, refused},
		{`-01`, refused, refused},
		{`1.`, refused, refused},
		{`.1`, refused, refused},
		{`+1`, refused, refused},
		{`0x1`, refused, refused},
		{`1e`, refused, refused},
		{`--1`, refused, refused},
		{`NaN`, refused, refused},
		{`Infinity`, refused, refused},
	} {
		for mode, want := range map[canonicaljson.Mode]string{canonicaljson.Strict: test.strict, canonicaljson.Lenient: test.lenient} {
			got, err := canonicaljson.Encode([]byte(`{"n":`+test.in+`}`), mode)
			if want == refused {
				if err == nil {
					t.Errorf("mode %d takes %s as %s", mode, test.in, got)
				}
				continue
			}
			if err != nil || string(got) != `{"n":`+want+`}` {
				t.Errorf("mode %d: %s is %s, %v", mode, test.in, got, err)
			}
		}
	}
}

func TestIntegersAreReadInTheirCanonicalForm(t *testing.T) {
	for in, want := range map[string]int64{`0`: 0, `-0`: 0, `12`: 12, ` 12 `: 12, `1e3`: 1000, `-1.5E1`: -15, `9223372036854775807`: 1<<63 - 1} {
		if n, ok := canonicaljson.Int([]byte(in)); !ok || n != want {
			t.Errorf("%s is %d, %v", in, n, ok)
		}
	}
	for _, in := range []string{``, `"1"`, `1.0`, `1.5`, `1e-1`, `1e17`, `9223372036854775808`, `null`, `true`, `+1`, `[1]`, `e`, `{"e":1}`} {
		if n, ok := canonicaljson.Int([]byte(in)); ok {
			t.Errorf("%s is %d", in, n)
		}
	}
}

func TestNestingHasABound(t *testing.T) {
	for _, form := range [][3]string{{"[", "[]", "]"}, {`{"a":`, "{}", "}"}} {
		nested := func(depth int) []byte {
			return []byte(strings.Repeat(form[0], depth-1) + form[1] + strings.Repeat(form[2], depth-1))
		}
		if _, err := canonicaljson.Encode(nested(canonicaljson.MaxDepth), canonicaljson.Strict); err != nil {
			t.Errorf("%s at the bound: %v", form[1], err)
		}
		if _, err := canonicaljson.Encode(nested(canonicaljson.MaxDepth+1), canonicaljson.Strict); err == nil {
			t.Errorf("%s goes beyond the bound", form[1])
		}
	}
}

// Every character stays itself, except those that JSON has to escape, which have
// their shortest form: of the line separators that some writers escape, too.
func TestCharactersStayThemselves(t *testing.T) {
	for r := rune(0); r <= 0x10FFFF; r++ {
		if r == 0xD800 {
			r = 0xE000
		}
		if r > 0x3000 && r%97 != 0 && r < 0x10FF00 {
			continue
		}
		raw, err := json.Marshal(string(r)) // escapes more than it has to
		if err != nil {
			t.Fatal(err)
		}
		got, err := canonicaljson.Encode(raw, canonicaljson.Strict)
		want := string(r)
		switch {
		case r == '"' || r == '\\':
			want = `\` + want
		case strings.ContainsRune("\b\f\n\r\t", r):
			want = `\` + string("btnvfr"[r-'\b'])
		case r < 0x20:
			want = fmt.Sprintf(`\u%04x`, r)
		}
		if err != nil || string(got) != `"`+want+`"` {
			t.Fatalf("%U: %q, %v", r, got, err)
		}
	}
}
