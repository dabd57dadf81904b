// Command move takes a whole server out of a stack, or puts one into it, as the
// commands of infra/local with the same names do:
//
//	go run ./infra/aws/move export -stack virga-example-org-copy -bucket BUCKET -server-name example.org FILE
//	go run ./infra/aws/move import -stack virga-example-org -bucket BUCKET -queue URL -server-name example.org FILE
//
// It has the credentials and the region of its environment, as the AWS command line
// does. FILE is described in shared/archive; - is the output or the input.
//
// A scan is not of one moment. So export reads the tables of a stack that stands
// still, or copies of them that were restored to one second:
//
//	for t in rooms events users tokens e2ee federation media server; do
//	  aws dynamodb restore-table-to-point-in-time --source-table-name virga-example-org_$t \
//	    --target-table-name virga-example-org-copy_$t --restore-date-time 2026-11-25T12:00:00Z
//	done
//
// Choose a second at which the server was at rest, such as one after its front door
// was closed: a transaction may have touched several tables. Import checks each room
// and refuses a file that mixes moments.
//
// Import fills the empty tables of a new stack, before anybody uses it. It is done again with the
// same file until it succeeds.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/virga-im/virga/shared/archive"
	"github.com/virga-im/virga/shared/aws"
	"github.com/virga-im/virga/shared/aws/account"
	"github.com/virga-im/virga/shared/queue"
)

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	if err := run(ctx, os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintf(os.Stderr, "virga: %v\n", err)
		os.Exit(1)
	}
}

// run runs the command. The stack is where Options of shared/aws says it is.
func run(ctx context.Context, args []string) error {
	if len(args) == 0 || args[0] != "export" && args[0] != "import" {
		return errors.New("say what to do: export or import")
	}
	name := args[0]
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	stack := flags.String("stack", "", "the stack, or the part of its tables' names before the underscore")
	bucket := flags.String("bucket", "", "the media bucket")
	url := flags.String("queue", "", "the URL of the queue <stack>_work, to import")
	server := flags.String("server-name", "", "the part after the colon of user ids")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	switch {
	case flags.NArg() != 1:
		return fmt.Errorf("say at the end which file to %s, or - for a pipe", name)
	case *stack == "" || *bucket == "" || *server == "":
		return errors.New("-stack, -bucket and -server-name say which server it is")
	case name == "import" && *url == "":
		return errors.New("-queue says where to send what is still to be done")
	}
	at := aws.Options{Stack: *stack, Bucket: *bucket, Queues: map[string]string{queue.Work.Name: *url}, Config: account.LoadConfig()}
	do := exportFrom
	if name == "import" {
		do = importInto
	}
	sum, err := do(ctx, at, *server, flags.Arg(0))
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "%sed %d rows and %d media; %d rooms, whose states sum up to %s\n", name, sum.Total(), sum.Blobs, sum.Rooms, sum.Roots)
	return nil
}

func exportFrom(ctx context.Context, at aws.Options, server, file string) (archive.Summary, error) {
	export := func(w io.Writer, media string) (archive.Summary, error) {
		return archive.Export(ctx, w, archive.From{
			ServerName: server, Release: archive.Release(), Source: aws.NewScan(at), DB: aws.NewDB(at), Blobs: aws.NewBlobs(at), Media: media, Now: time.Now(),
		})
	}
	if file == "-" {
		return export(os.Stdout, "")
	}
	return archive.ToFile(file, export)
}

func importInto(ctx context.Context, at aws.Options, server, file string) (archive.Summary, error) {
	in := func(r io.Reader, media string) (archive.Summary, error) {
		return archive.Import(ctx, r, archive.Into{
			ServerName: server, DB: aws.NewDB(at), Source: aws.NewScan(at), Queues: aws.NewSender(at), Blobs: aws.NewBlobs(at), Media: media, Now: time.Now(),
		})
	}
	if file == "-" {
		return in(os.Stdin, "")
	}
	return archive.FromFile(file, in)
}
