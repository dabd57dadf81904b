package auth

import "encoding/binary"

const (
	encoding     = 2 // the first byte of an encoded View
	flagState    = 1
	flagRejected = 2
)

type writer []byte

func (w *writer) number(n int64) { *w = binary.AppendVarint(*w, n) }

func (w *writer) text(s string) {
	*w = binary.AppendUvarint(*w, uint64(len(s)))
	*w = append(*w, s...)
}

type reader struct {
	rest []byte
	bad  bool
}

func (r *reader) number() int64 {
	n, size := binary.Varint(r.rest)
	if size <= 0 {
		r.bad, r.rest = true, nil
		return 0
	}
	r.rest = r.rest[size:]
	return n
}

func (r *reader) text() string {
	n, size := binary.Uvarint(r.rest)
	if size <= 0 || n > uint64(len(r.rest)-size) {
		r.bad, r.rest = true, nil
		return ""
	}
	s := string(r.rest[size : size+int(n)])
	r.rest = r.rest[size+int(n):]
	return s
}
