package cloudfront

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"sync"
)

// driver runs programs as CloudFront's runtime 2.0 does: it reads an event a
// line, and writes what the program made of it.
const driver = `
const program = new Function(process.argv[1] + '\n;return handler;')();
require('readline').createInterface({ input: process.stdin }).on('line', function (line) {
  const v = JSON.parse(line);
  const cut = v.uri.indexOf('?');
  const query = cut < 0 ? undefined : v.uri.slice(cut + 1);
  const querystring = {};
  (query || '').split('&').filter(Boolean).forEach(function (pair) {
    const at = pair.indexOf('=');
    querystring[at < 0 ? pair : pair.slice(0, at)] = { value: at < 0 ? '' : pair.slice(at + 1) };
  });
  let out;
  try {
    out = program({ version: '1.0', context: { eventType: 'viewer-request' }, viewer: { ip: v.ip }, request: {
      method: v.method, uri: cut < 0 ? v.uri : v.uri.slice(0, cut), querystring: querystring,
      headers: v.headers, cookies: {}, rawQueryString: function () { return query; },
    } });
  } catch (e) { out = { error: String(e && e.stack || e) }; }
  process.stdout.write(JSON.stringify(out) + '\n');
});`

// maxProgram is how long the code of a function may be, in bytes.
const maxProgram = 10 << 10

// Program is the code of a CloudFront function in a Node process of its own.
type Program struct {
	mu  sync.Mutex
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
	err strings.Builder
}

// Start starts a program.
func Start(code string) (*Program, error) {
	if len(code) > maxProgram {
		return nil, fmt.Errorf("the code has %d bytes, and CloudFront takes %d", len(code), maxProgram)
	}
	p := &Program{cmd: exec.Command("node", "-e", driver, "'use strict';"+code)}
	p.cmd.Stderr = &p.err
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.out = bufio.NewReader(out)
	return p, p.cmd.Start()
}

// Close ends the process.
func (p *Program) Close() {
	p.in.Close()
	_ = p.cmd.Wait() // what it had to say was told by Run
}

type value struct {
	Value      string  `json:"value"`
	MultiValue []value `json:"multiValue,omitempty"`
}

type parts map[string]value

func (h parts) header() http.Header {
	out := http.Header{}
	for name, v := range h {
		out.Set(name, v.Value)
		for i, more := range v.MultiValue {
			if i == 0 {
				out.Del(name)
			}
			out.Add(name, more.Value)
		}
	}
	return out
}

// Run hands a request to the program, which changes it or answers it itself.
func (p *Program) Run(r *Request) (*Response, error) {
	headers := parts{}
	for name, values := range r.Header {
		v := value{Value: values[len(values)-1]}
		if len(values) > 1 {
			for _, each := range values {
				v.MultiValue = append(v.MultiValue, value{Value: each})
			}
		}
		headers[strings.ToLower(name)] = v
	}
	event, err := json.Marshal(map[string]any{"method": r.Method, "uri": r.URI, "ip": r.IP, "headers": headers})
	if err != nil {
		return nil, err
	}
	text, err := p.ask(event)
	if err != nil {
		return nil, err
	}
	var out struct {
		Error       string
		StatusCode  int
		Body        any
		Method, URI string
		QueryString parts
		Headers     parts
	}
	if err := json.Unmarshal(text, &out); err != nil {
		return nil, fmt.Errorf("%s: %w", text, err)
	}
	switch {
	case out.Error != "":
		return nil, fmt.Errorf("%s", out.Error)
	case out.StatusCode != 0:
		body, _ := out.Body.(string)
		return &Response{Status: out.StatusCode, Header: out.Headers.header(), Body: body}, nil
	case out.Method != r.Method || !strings.HasPrefix(out.URI, "/"):
		return nil, fmt.Errorf("it made %s %s of %s %s", out.Method, out.URI, r.Method, r.URI)
	}
	r.URI, r.Header = out.URI, out.Headers.header()
	between := "?"
	for name, v := range out.QueryString {
		r.URI += between + name + "=" + v.Value
		between = "&"
	}
	return nil, nil
}

func (p *Program) ask(event []byte) ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, err := p.in.Write(append(event, '\n')); err != nil {
		return nil, err
	}
	line, err := p.out.ReadBytes('\n')
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, p.err.String())
	}
	return line, nil
}
