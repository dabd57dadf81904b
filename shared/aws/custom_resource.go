package aws

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"runtime/debug"
	"strings"
	"time"
)

// resource is what CloudFormation asks about a custom resource: a part of a stack
// that a function of ours makes, changes and deletes.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/crpg-ref-requesttypes.html
type resource struct {
	request    string // Create, Update or Delete
	typ        string // Custom::…
	logical    string // its name in the template
	id         string // the physical id; empty at Create
	stackID    string // the ARN of the stack
	properties map[string]string
}

// given is what came of it.
type given struct {
	// id is the physical id; empty keeps the one there is. An Update that answers
	// another one replaces the resource, and CloudFormation then asks to delete
	// the old one.
	id string
	// data are the attributes of the resource. They are secrets: CloudFormation
	// shows them to nobody (NoEcho), and they are in no log line here.
	data map[string]string
}

// errGoOn says that there is more to do than the function has time for.
var errGoOn = errors.New("there is more to do")

// custom answers the events of custom resources.
//
// It always answers: CloudFormation waits an hour for who does not. A crash, an
// event that makes no sense and a function that runs out of time are answered as
// failures. Only who says where to send the answer is answered, so what is wrong
// there is an error of the invocation, after which Lambda sends the event again.
type custom struct {
	log    *slog.Logger
	stack  string
	client *http.Client
	// local is the host beside Amazon's that may be answered, for tests: that of
	// servers which imitate AWS.
	local string
	// again sends an event to this function once more.
	again func(ctx context.Context, event []byte) error
	do    func(context.Context, resource) (given, error)
}

// The bounds of a run.
const (
	// answerMargin is kept for the answer, which may have to be repeated.
	answerMargin = 20 * time.Second
	// answerGrace is how long after the end of its time the work may take to say
	// how far it came.
	answerGrace = 5 * time.Second
	// maxRounds bounds how often the function goes on in another run: with its
	// two minutes that is within the hour that CloudFormation waits.
	maxRounds = 25
	// roundKey holds the number of rounds, in an event of our own.
	roundKey = "VirgaRound"
)

// stackAnswer is what CloudFormation wants to know.
//
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/crpg-ref-responses.html
type stackAnswer struct {
	Status             string
	Reason             string `json:",omitempty"`
	PhysicalResourceID string `json:"PhysicalResourceId"`
	StackID            string `json:"StackId"`
	RequestID          string `json:"RequestId"`
	LogicalResourceID  string `json:"LogicalResourceId"`
	NoEcho             bool
	Data               map[string]string `json:",omitempty"`
}

// Invoke implements Invocation.
func (c custom) Invoke(ctx context.Context, event []byte) ([]byte, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(event, &fields); err != nil {
		return nil, fmt.Errorf("event of CloudFormation: %w", err)
	}
	text := func(name string) (s string) {
		_ = json.Unmarshal(fields[name], &s) // what is no text counts as left out
		return s
	}
	to, err := c.address(text("ResponseURL"))
	if err != nil {
		return nil, err
	}
	r := resource{
		request: text("RequestType"), typ: text("ResourceType"), logical: text("LogicalResourceId"),
		id: text("PhysicalResourceId"), stackID: text("StackId"), properties: map[string]string{},
	}
	a := stackAnswer{
		Status: "SUCCESS", NoEcho: true, PhysicalResourceID: r.id,
		StackID: r.stackID, RequestID: text("RequestId"), LogicalResourceID: r.logical,
	}
	if a.PhysicalResourceID == "" {
		a.PhysicalResourceID = c.stack + "_" + r.logical
	}
	var properties map[string]any
	err = json.Unmarshal(fields["ResourceProperties"], &properties)
	for name, value := range properties {
		if s, ok := value.(string); ok {
			r.properties[name] = s
		}
	}
	var g given
	if err == nil {
		g, err = c.inTime(ctx, r)
	} else {
		err = errors.New("the event has no ResourceProperties")
	}
	if errors.Is(err, errGoOn) {
		if err = c.goOn(ctx, fields); err == nil {
			return []byte("null"), nil // the next run answers
		}
	}
	if err != nil {
		a.Status, a.Reason = "FAILED", err.Error()
		c.log.LogAttrs(ctx, slog.LevelError, "custom resource failed", slog.String("request_id", RequestID(ctx)),
			slog.String("request", r.request), slog.String("resource", r.logical), slog.String("err", err.Error()))
	} else {
		a.Data = g.data
		if g.id != "" {
			a.PhysicalResourceID = g.id
		}
	}
	if err := c.answer(ctx, to, a); err != nil {
		return nil, fmt.Errorf("answer CloudFormation about %s: %w", r.logical, err)
	}
	return []byte("null"), nil
}

// address checks where the answer goes. Whoever may run this function could
// otherwise have a secret sent to himself, or a request sent to anybody.
func (c custom) address(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil, u.User != nil, u.Host == "":
		return nil, errors.New("event of CloudFormation: its ResponseURL is none")
	case c.local != "" && u.Hostname() == c.local:
		return u, nil
	case u.Scheme == "https" && (strings.HasSuffix(u.Host, ".amazonaws.com") || strings.HasSuffix(u.Host, ".amazonaws.com.cn")):
		return u, nil
	}
	return nil, fmt.Errorf("event of CloudFormation: its ResponseURL leads to %s, which is not Amazon", u.Hostname())
}

// inTime does the work, and ends in time for the answer whatever the work does.
func (c custom) inTime(ctx context.Context, r resource) (g given, err error) {
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline.Add(-answerMargin))
		defer cancel()
	}
	done := make(chan struct{})
	var did given
	var failed error
	go func() {
		defer close(done)
		defer func() {
			if p := recover(); p != nil {
				failed = errors.New("the function crashed: see its log")
				c.log.LogAttrs(ctx, slog.LevelError, "panic", slog.String("err", fmt.Sprint(p)), slog.String("stack", string(debug.Stack())))
			}
		}()
		did, failed = c.do(ctx, r)
	}()
	select {
	case <-done:
		return did, failed
	case <-ctx.Done():
	}
	select {
	case <-done:
		return did, failed
	case <-time.After(answerGrace):
		return given{}, errors.New("the function ran out of time")
	}
}

// goOn lets another run do the rest, and answer.
func (c custom) goOn(ctx context.Context, event map[string]json.RawMessage) error {
	var round int
	_ = json.Unmarshal(event[roundKey], &round) // CloudFormation's own events have none
	if round++; round > maxRounds {
		return fmt.Errorf("not finished after %d runs: delete the stack again to go on", maxRounds)
	}
	event[roundKey] = json.RawMessage(fmt.Sprint(round))
	next, err := json.Marshal(event)
	if err != nil {
		return err
	}
	if err := c.again(ctx, next); err != nil {
		return fmt.Errorf("not finished, and the function could not go on: %w", err)
	}
	return nil
}

// The answer: how large it may be, of which a reason has a part, and how long it
// is tried.
const (
	maxStackAnswer = 4096
	maxReason      = 1024
	answerTries    = 4
	answerTimeout  = 5 * time.Second
)

// answer puts the answer where CloudFormation reads it.
func (c custom) answer(ctx context.Context, to *url.URL, a stackAnswer) error {
	if len(a.Reason) > maxReason {
		a.Reason = strings.ToValidUTF8(a.Reason[:maxReason], "")
	}
	body, err := json.Marshal(a)
	if err != nil {
		return err
	}
	if len(body) > maxStackAnswer {
		return fmt.Errorf("it has %d bytes, and CloudFormation reads %d", len(body), maxStackAnswer)
	}
	for try := 1; ; try++ {
		err := c.put(ctx, to, body)
		if err == nil || try == answerTries {
			return err
		}
		select {
		case <-time.After(time.Duration(try) * 250 * time.Millisecond):
		case <-ctx.Done():
			return err
		}
	}
}

// put sends the body without a Content-Type, which is not in the URL's signature.
func (c custom) put(ctx context.Context, to *url.URL, body []byte) error {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, to.String(), bytes.NewReader(body))
	if err != nil {
		return errors.New("the ResponseURL is none")
	}
	resp, err := c.client.Do(req)
	if err != nil {
		var named *url.Error
		if errors.As(err, &named) {
			err = named.Err // without the URL, whose signature lets anybody answer
		}
		return err
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<16))
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", to.Hostname(), resp.Status)
	}
	return nil
}
