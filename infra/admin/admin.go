// Package admin has the commands of whoever operates a server: they make the first
// administrator, and help those who are locked out. They change the stores themselves,
// through the domain that routes use too, so nobody is asked for a session: who may
// run them is who has the stores, which is a matter of the machine or of AWS.
//
// infra/aws/admin runs them on the tables of a stack, infra/local on a folder.
package admin

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/virga-im/virga/events/id"
	"github.com/virga-im/virga/shared/accounts"
	"github.com/virga-im/virga/shared/grant"
)

// Usage are the commands.
const Usage = `  create-user [-admin] [-display-name NAME] USER
                         make an account; its password is asked for
  reset-password [-keep-sessions] USER
                         give an account another password, and log it out everywhere
  promote USER           make an administrator of a user, at once in all sessions
  demote USER            end that
  log-out USER           end all sessions of a user
  registration-token [-uses N] [-for 168h]
                         make a token that one registers with, where registration is "token"
  revoke-token           end such a token, which is asked for

USER is alice or @alice:example.org. A password is asked for on the terminal, or is the
first line of the input if that is a pipe; it is never an argument, which others on the
machine could read.
`

// Commands are the names of the commands.
var Commands = []string{"create-user", "reset-password", "promote", "demote", "log-out", "registration-token", "revoke-token"}

// Console is where the commands run. All fields are required.
type Console struct {
	Accounts   *accounts.Service
	ServerName string
	// In is where passwords are read. What is asked goes to Err, what is answered to Out.
	In       io.Reader
	Out, Err io.Writer
}

// command is what was said on the command line.
type command struct {
	name, user  string
	admin, keep bool
	displayName *string
	uses        int64
	good        time.Duration
}

// flagsOf are the flags of the commands that have any.
var flagsOf = map[string][]string{
	"create-user": {"admin", "display-name"}, "reset-password": {"keep-sessions"}, "registration-token": {"uses", "for"},
}

// Check returns an error if the arguments of Run are not those of a command. Help that
// is asked for goes to said, and is flag.ErrHelp.
func Check(args []string, said io.Writer) error {
	_, err := parse(args, said)
	return err
}

func parse(args []string, said io.Writer) (c command, err error) {
	if len(args) == 0 {
		return c, errors.New("say what to do: " + strings.Join(Commands, ", "))
	}
	c.name = args[0]
	if !slices.Contains(Commands, c.name) {
		return c, fmt.Errorf("there is no command %q; there are %s", c.name, strings.Join(Commands, ", "))
	}
	flags := flag.NewFlagSet(c.name, flag.ContinueOnError)
	flags.SetOutput(said)
	flags.Usage = func() { fmt.Fprint(said, Usage) }
	flags.BoolVar(&c.admin, "admin", false, "")
	flags.BoolVar(&c.keep, "keep-sessions", false, "")
	flags.Int64Var(&c.uses, "uses", 0, "")
	flags.DurationVar(&c.good, "for", 0, "")
	flags.Func("display-name", "", func(v string) error { c.displayName = &v; return nil })
	if err := flags.Parse(args[1:]); err != nil {
		return c, err
	}
	flags.Visit(func(f *flag.Flag) {
		if !slices.Contains(flagsOf[c.name], f.Name) {
			err = errors.Join(err, fmt.Errorf("%s has no flag -%s", c.name, f.Name))
		}
	})
	names := 1
	if strings.HasSuffix(c.name, "-token") {
		names = 0
	}
	switch {
	case err != nil:
	case flags.NArg() != names:
		err = fmt.Errorf("%s needs %d names after its flags, and not %d", c.name, names, flags.NArg())
	case c.uses < 0 || c.good < 0:
		err = errors.New("-uses and -for are not negative")
	}
	c.user = flags.Arg(0)
	return c, err
}

// Run runs a command.
func Run(ctx context.Context, c Console, args []string) error {
	said, err := parse(args, c.Err)
	if err != nil {
		return err
	}
	ctx = grant.With(ctx, "admin", accounts.Operates, nil)
	answer, err := c.run(ctx, said)
	if err == nil {
		fmt.Fprintln(c.Out, answer)
	}
	return err
}

func (c Console) run(ctx context.Context, do command) (answer string, err error) {
	user := do.user
	if !strings.HasPrefix(user, "@") {
		user = id.User(strings.ToLower(user), c.ServerName)
	}
	switch do.name {
	case "create-user":
		password, err := c.password(user)
		if err != nil {
			return "", err
		}
		user, err = c.Accounts.CreateAccount(ctx, id.Localpart(user), password, do.displayName, do.admin)
		if do.admin {
			return user + " is an administrator, and can log in", err
		}
		return user + " can log in", err
	case "reset-password":
		password, err := c.password(user)
		if err != nil {
			return "", err
		}
		err = c.Accounts.ResetPassword(ctx, user, password, !do.keep)
		if do.keep {
			return user + " has the new password, and stays logged in", err
		}
		return user + " has the new password, and is logged out everywhere", err
	case "promote":
		return user + " is an administrator, in all sessions", c.Accounts.SetAdmin(ctx, user, true)
	case "demote":
		return user + " is no administrator any more, in no session", c.Accounts.SetAdmin(ctx, user, false)
	case "log-out":
		return user + " is logged out everywhere", c.Accounts.LogOut(ctx, user)
	case "registration-token":
		var until time.Time
		if do.good > 0 {
			until = time.Now().Add(do.good)
		}
		return c.Accounts.NewRegistrationToken(ctx, do.uses, until)
	case "revoke-token":
		token, err := c.secret("registration token")
		if err != nil {
			return "", err
		}
		return "nobody can register with it any more", c.Accounts.RevokeRegistrationToken(ctx, token)
	}
	panic("admin: " + do.name) // parse lets no other through
}

// password asks for a password, twice where it cannot be seen.
func (c Console) password(user string) (string, error) {
	if id.Server(user) != c.ServerName {
		return "", fmt.Errorf("%s is not a user of %s", user, c.ServerName)
	}
	password, err := c.secret("password of " + user)
	if err != nil || !terminal(c.In) {
		return password, err
	}
	again, err := c.secret("again")
	if err == nil && again != password {
		err = errors.New("these were two passwords")
	}
	return password, err
}

// secret reads a line, which a terminal does not show.
func (c Console) secret(what string) (string, error) {
	if terminal(c.In) {
		fmt.Fprintf(c.Err, "%s: ", what)
		if stty("-echo") == nil {
			defer func() { _ = stty("echo"); fmt.Fprintln(c.Err) }() // who sees nothing types reset
		} else {
			fmt.Fprint(c.Err, "(it will be seen) ")
		}
	}
	// One byte at a time: what follows the line is not for this command.
	line, err := bufio.NewReaderSize(oneByte{c.In}, 16).ReadString('\n')
	if err != nil && (err != io.EOF || line == "") {
		return "", fmt.Errorf("read the %s: %w", what, err)
	}
	return strings.TrimRight(line, "\r\n"), nil
}

// oneByte reads no more than it is asked for.
type oneByte struct{ io.Reader }

func (r oneByte) Read(p []byte) (int, error) { return r.Reader.Read(p[:1]) }

// terminal reports whether a person types.
func terminal(r io.Reader) bool {
	if r != io.Reader(os.Stdin) {
		return false
	}
	info, err := os.Stdin.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	// There are other such devices than terminals.
	err = stty("-g")
	return err == nil || errors.Is(err, exec.ErrNotFound)
}

func stty(how string) error {
	cmd := exec.Command("stty", how)
	cmd.Stdin = os.Stdin
	return cmd.Run()
}
