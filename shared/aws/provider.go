package aws

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-lambda-go/lambdacontext"
)

// The custom resources of a stack; infra/aws declares them.
//
// CloudFormation can make no random value that stays secret and costs nothing,
// but it keeps what a custom resource gave, and shows it to nobody. So the key of
// the door's secrets is kept in the stack itself: no table holds it, no function
// but this one is told, and it is in no archive.
const (
	// keyResource has the attribute Key: 256 random bits. It is made once, and
	// its properties never change.
	keyResource = "Custom::VirgaKey"
	// secretResource has the properties Key and Generation, and the attributes
	// Secret, which the door sends, and Accepted, which are those that functions
	// take, separated by commas.
	secretResource = "Custom::VirgaSecret"
	// remainsResource deletes, when the stack goes, what CloudFormation cannot:
	// the objects of the bucket in its property EmptyBucket, if it has one, and
	// the queues whose names begin with its property Queues.
	remainsResource = "Custom::VirgaRemains"
)

// Provider makes the Invocation of the function that makes, changes and deletes
// the custom resources of its stack. Where the configuration has an endpoint,
// which only tests have, it also answers there.
func Provider(log *slog.Logger, o Options) Invocation {
	return func(ctx context.Context, event []byte) ([]byte, error) {
		load := o.Config
		if load == nil {
			load = FunctionConfig()
		}
		cfg, err := load()
		if err != nil {
			return nil, err
		}
		p := &provider{o: o, cfg: cfg, log: log}
		c := custom{
			log: log, stack: o.Stack, do: p.do,
			client: &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
			again: func(ctx context.Context, event []byte) error {
				return invokeLater(ctx, cfg, lambdacontext.FunctionName, event)
			},
		}
		if cfg.BaseEndpoint != nil {
			if u, err := url.Parse(*cfg.BaseEndpoint); err == nil {
				c.local = u.Hostname()
			}
		}
		return c.Invoke(ctx, event)
	}
}

func (p *provider) do(ctx context.Context, r resource) (given, error) {
	switch r.request {
	case "Create", "Update":
		switch r.typ {
		case keyResource:
			return p.key(r), nil
		case secretResource:
			return secrets(r)
		case remainsResource:
			return given{}, nil
		}
		return given{}, fmt.Errorf("there is no resource of type %s: the stack and its program must be deployed together", r.typ)
	case "Delete":
		if r.typ == remainsResource {
			return given{}, p.remove(ctx, r)
		}
		return given{}, nil // there is nothing that would stay
	}
	return given{}, fmt.Errorf("CloudFormation asks for %q, which is none of Create, Update and Delete", r.request)
}

// key makes a key. No Update should come, since nothing of the resource changes;
// the one that comes cannot tell which key was given, and makes another: then
// functions refuse everybody until they are updated, as with a secret that is
// replaced by one that they do not know.
func (p *provider) key(r resource) given {
	var key [32]byte
	_, _ = rand.Read(key[:]) // it never fails
	g := given{data: map[string]string{"Key": hex.EncodeToString(key[:])}}
	if r.request == "Update" {
		g.id = p.o.Stack + "_" + r.logical + "_" + rand.Text()[:8]
	}
	return g
}

// secrets derives the secret of a generation. A change of generation reaches the
// door first, and the functions when all of it has it, which takes minutes, and a
// deploy that fails goes the other way. So functions take the secrets of the
// generations before and after theirs as well, and refuse nobody in between.
func secrets(r resource) (given, error) {
	key, err := hex.DecodeString(r.properties["Key"])
	if err != nil || len(key) != 32 {
		return given{}, errors.New("the property Key is no key") // and is not shown
	}
	generation, err := strconv.Atoi(r.properties["Generation"])
	if err != nil || generation < 1 {
		return given{}, fmt.Errorf("the property Generation is %q, and must be a number from 1", r.properties["Generation"])
	}
	secret := func(generation int) string {
		mac := hmac.New(sha256.New, key)
		fmt.Fprintf(mac, "the door's secret of generation %d", generation)
		return hex.EncodeToString(mac.Sum(nil))
	}
	return given{data: map[string]string{
		"Secret":   secret(generation),
		"Accepted": strings.Join([]string{secret(generation), secret(generation + 1), secret(generation - 1)}, ","),
	}}, nil
}

// going are the states of a stack in which it goes for good: it is deleted, or
// could not be made. In any other the resource is replaced, or an update that
// made it is undone, and the server is still there.
var going = []string{"DELETE_IN_PROGRESS", "ROLLBACK_IN_PROGRESS"}

// remove deletes what would stay, if the stack goes.
func (p *provider) remove(ctx context.Context, r resource) error {
	if r.id != p.o.Stack+"_"+r.logical {
		return nil // never made, or replaced
	}
	status, err := stackStatus(ctx, p.cfg, r.stackID)
	if err != nil {
		return unlessGoOn(ctx, "ask whether the stack goes", err)
	}
	if !slices.Contains(going, status) {
		p.log.LogAttrs(ctx, slog.LevelInfo, "nothing is removed, because the stack stays", slog.String("status", status))
		return nil
	}
	if bucket := r.properties["EmptyBucket"]; bucket != "" {
		if err := p.emptyBucket(ctx, bucket); err != nil {
			return unlessGoOn(ctx, "empty the bucket "+bucket, err)
		}
	}
	if prefix := r.properties["Queues"]; prefix != "" {
		if err := p.deleteQueues(ctx, prefix); err != nil {
			return unlessGoOn(ctx, "delete the queues "+prefix+"*", err)
		}
	}
	return nil
}

// unlessGoOn is the error of a step, or errGoOn if the time was up.
func unlessGoOn(ctx context.Context, step string, err error) error {
	if ctx.Err() != nil {
		return errGoOn
	}
	return fmt.Errorf("%s: %w", step, err)
}
