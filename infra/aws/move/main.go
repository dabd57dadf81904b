// Command move does what is done with a whole server: it takes one out of a stack, puts
// one into it, and puts a stack back to an earlier time. The first two are the commands
// of infra/local with the same names.
//
//	go run ./infra/aws/move export  -stack virga-example-org FILE
//	go run ./infra/aws/move import  -stack virga-example-org FILE
//	go run ./infra/aws/move close   -stack virga-example-org
//	go run ./infra/aws/move restore -stack virga-example-org -from virga-example-org-copy
//	go run ./infra/aws/move open    -stack virga-example-org
//
// It has the credentials and the region of its environment, as the AWS command line
// does. What the stack is, it asks CloudFormation; where there is no stack any more,
// -server-name, -bucket and -queue say it. FILE is described in shared/archive; - is the
// output or the input.
//
// A scan is not of one moment. So export reads the tables of a stack that is closed, or
// copies of them that were restored to one second, which -from names by the part of
// their names before the underscore:
//
//	for t in rooms events users tokens e2ee federation media server; do
//	  aws dynamodb restore-table-to-point-in-time --source-table-name virga-example-org_$t \
//	    --target-table-name virga-example-org-copy_$t --restore-date-time 2026-11-25T12:00:00Z
//	done
//
// Choose a second at which the server was at rest: a transaction may have touched several
// tables. Import and restore check each room and refuse what mixes moments.
//
// Import fills the empty tables of a new stack, before anybody uses it. It is done again
// with the same file until it succeeds.
//
// Close lets no function of the stack run, and returns once those that ran have ended;
// open ends that. Restore puts a closed stack back to the time of the copies; see
// shared/archive/restore.go for what that means, and README.md for the whole way.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
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

// command is what was said on the command line.
type command struct {
	name                             string
	stack, from, bucket, url, server string
	file                             string
	logOut, dry                      bool
}

// The commands, with the flags that each takes besides -stack and -server-name.
var commands = map[string][]string{
	"export": {"from", "bucket"}, "import": {"bucket", "queue", "log-out"},
	"close": {}, "restore": {"from", "queue", "log-out", "dry-run"}, "open": {},
}

func parse(args []string) (c command, err error) {
	if len(args) == 0 || commands[args[0]] == nil {
		return c, errors.New("say what to do: export, import, close, restore or open")
	}
	c.name = args[0]
	flags := flag.NewFlagSet(c.name, flag.ContinueOnError)
	flags.StringVar(&c.stack, "stack", "", "the `stack`, or the part of its tables' names before the underscore")
	flags.StringVar(&c.server, "server-name", "", "the part after the colon of user ids, if there is no stack to ask")
	flags.StringVar(&c.from, "from", "", "the part before the underscore of the names of `copies` of the tables")
	flags.StringVar(&c.bucket, "bucket", "", "the media bucket, if there is no stack to ask")
	flags.StringVar(&c.url, "queue", "", "the `URL` of the queue <stack>_work, if it cannot be asked for")
	flags.BoolVar(&c.logOut, "log-out", false, "end all sessions: everybody logs in anew")
	flags.BoolVar(&c.dry, "dry-run", false, "say what would be done, and do nothing")
	if err := flags.Parse(args[1:]); err != nil {
		return c, err
	}
	flags.Visit(func(f *flag.Flag) {
		if f.Name != "stack" && f.Name != "server-name" && !slices.Contains(commands[c.name], f.Name) {
			err = errors.Join(err, fmt.Errorf("%s has no flag -%s", c.name, f.Name))
		}
	})
	c.file = flags.Arg(0)
	files := 0
	if c.name == "export" || c.name == "import" {
		files = 1
	}
	switch {
	case err != nil:
	case flags.NArg() != files && files == 1:
		err = fmt.Errorf("say at the end which file to %s, or - for a pipe", c.name)
	case flags.NArg() != files:
		err = fmt.Errorf("%q: %s has flags only", flags.Arg(0), c.name)
	case c.stack == "":
		err = errors.New("-stack says which server it is")
	case c.name == "restore" && (c.from == "" || c.from == c.stack):
		err = errors.New("-from names the copies of the tables to go back to")
	}
	return c, err
}

// run runs the command.
func run(ctx context.Context, args []string) error {
	c, err := parse(args)
	if err != nil {
		return err
	}
	at, err := account.Open(ctx)
	if err != nil {
		return err
	}
	switch c.name {
	case "close":
		return closed(ctx, at, c.stack)
	case "open":
		return open(ctx, at, c.stack)
	}
	if err := c.ask(ctx, at); err != nil {
		return err
	}
	o := aws.Options{Stack: c.stack, Bucket: c.bucket, Queues: map[string]string{queue.Work.Name: c.url}, Config: account.LoadConfig()}
	if c.name == "restore" {
		return c.restore(ctx, at, o)
	}
	do := c.exportFrom
	if c.name == "import" {
		do = c.importInto
	}
	sum, err := do(ctx, o)
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "%sed %d rows and %d media; %d rooms, whose states sum up to %s\n", c.name, sum.Total(), sum.Blobs, sum.Rooms, sum.Roots)
	return nil
}

// ask finds out of the stack what was not said.
func (c *command) ask(ctx context.Context, at *account.Account) error {
	needs := func(flag string) bool { return slices.Contains(commands[c.name], flag) }
	if c.server == "" || needs("bucket") && c.bucket == "" {
		is, err := at.Stack(ctx, c.stack)
		if err != nil && !errors.Is(err, account.ErrMissing) {
			return fmt.Errorf("ask what the stack %s is: %w", c.stack, err)
		}
		if c.server == "" {
			c.server = is.Tags["server"]
		}
		if c.bucket == "" {
			c.bucket = is.Outputs["MediaBucketName"]
		}
		if c.server == "" || needs("bucket") && c.bucket == "" {
			return fmt.Errorf("there is no stack %s in %s to ask: -server-name says which server it is, and -bucket where its media are", c.stack, at.Region())
		}
	}
	if !needs("queue") || c.url != "" {
		return nil
	}
	url, err := at.QueueURL(ctx, c.stack+"_"+queue.Work.Name)
	if err != nil {
		return fmt.Errorf("-queue says where to send what is still to be done, and cannot be found out: %w", err)
	}
	c.url = url
	return nil
}

func (c *command) exportFrom(ctx context.Context, at aws.Options) (archive.Summary, error) {
	if c.from != "" {
		at.Stack = c.from
	}
	export := func(w io.Writer, media string) (archive.Summary, error) {
		return archive.Export(ctx, w, archive.From{
			ServerName: c.server, Release: archive.Release(), Source: aws.NewScan(at), DB: aws.NewDB(at), Blobs: aws.NewBlobs(at), Media: media, Now: time.Now(),
		})
	}
	if c.file == "-" {
		return export(os.Stdout, "")
	}
	return archive.ToFile(c.file, export)
}

func (c *command) importInto(ctx context.Context, at aws.Options) (archive.Summary, error) {
	in := func(r io.Reader, media string) (archive.Summary, error) {
		return archive.Import(ctx, r, archive.Into{
			ServerName: c.server, DB: aws.NewDB(at), Source: aws.NewScan(at), Queues: aws.NewSender(at), Blobs: aws.NewBlobs(at), Media: media, Now: time.Now(),
			LogOut: c.logOut,
		})
	}
	if c.file == "-" {
		return in(os.Stdin, "")
	}
	return archive.FromFile(c.file, in)
}

// restore puts the stack back, which must be closed.
func (c *command) restore(ctx context.Context, in *account.Account, at aws.Options) error {
	if !c.dry {
		if err := isClosed(ctx, in, c.stack); err != nil {
			return err
		}
	}
	then := at
	then.Stack = c.from
	done, err := archive.Restore(ctx, archive.Back{
		ServerName: c.server, Copies: aws.NewDB(then), Then: aws.NewScan(then), DB: aws.NewDB(at), Source: aws.NewScan(at),
		Queues: aws.NewSender(at), ID: c.from, Now: time.Now(), LogOut: c.logOut, Dry: c.dry,
	})
	if err != nil {
		return fmt.Errorf("%w\nNobody may use the stack before this is done again and succeeds", err)
	}
	tell(done, c.dry)
	if c.dry {
		return nil
	}
	fmt.Fprintf(os.Stderr, "now: go run ./infra/aws/move open -stack %s\n", c.stack)
	return nil
}

func tell(d archive.Done, dry bool) {
	how := "restored"
	if dry {
		how = "would restore"
	}
	fmt.Fprintf(os.Stderr, "%s %d rooms, of which %d have changed since; %d that were made since are gone\n", how, d.Rooms, d.Moved, d.Lost)
	for _, table := range slices.Sorted(func(yield func(string) bool) {
		for name := range d.Put {
			if !yield(name) {
				return
			}
		}
		for name := range d.Deleted {
			if d.Put[name] == 0 && !yield(name) {
				return
			}
		}
	}) {
		fmt.Fprintf(os.Stderr, "  %-10s %d rows written, %d deleted\n", table, d.Put[table], d.Deleted[table])
	}
	for what, users := range map[string][]string{"registered since, and stay, in no room": d.Kept, "deactivated since, and leave their rooms again": d.Again} {
		if len(users) > 0 {
			slices.Sort(users)
			fmt.Fprintf(os.Stderr, "%s: %s\n", what, strings.Join(users, ", "))
		}
	}
}
