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

// Run runs a command.
func Run(ctx context.Context, c Console, args []string) error {
	if len(args) == 0 {
		return errors.New("say what to do: " + strings.Join(Commands, ", "))
	}
	ctx = grant.With(ctx, "admin", accounts.Operates, nil)
	name := args[0]
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.SetOutput(c.Err)
	flags.Usage = func() { fmt.Fprint(c.Err, Usage) }
	var (
		isAdmin = flags.Bool("admin", false, "")
		called  = flags.String("display-name", "", "")
		keep    = flags.Bool("keep-sessions", false, "")
		uses    = flags.Int64("uses", 0, "")
		good    = flags.Duration("for", 0, "")
	)
	allowed := map[string][]string{
		"create-user": {"admin", "display-name"}, "reset-password": {"keep-sessions"}, "registration-token": {"uses", "for"},
	}
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	var stray error
	flags.Visit(func(f *flag.Flag) {
		for _, a := range allowed[name] {
			if a == f.Name {
				return
			}
		}
		stray = fmt.Errorf("%s has no flag -%s", name, f.Name)
	})
	if stray != nil {
		return stray
	}
	names := 1
	if strings.HasSuffix(name, "-token") {
		names = 0
	}
	if flags.NArg() != names {
		return fmt.Errorf("%s needs %d names after its flags, and not %d", name, names, flags.NArg())
	}
	user := c.user(flags.Arg(0))
	done := func(err error, format string, args ...any) error {
		if err == nil {
			fmt.Fprintf(c.Out, format+"\n", args...)
		}
		return err
	}
	switch name {
	case "create-user":
		password, err := c.password(user)
		if err != nil {
			return err
		}
		var display *string
		if *called != "" {
			display = called
		}
		user, err = c.Accounts.CreateAccount(ctx, id.Localpart(user), password, display, *isAdmin)
		if *isAdmin {
			return done(err, "%s is an administrator, and can log in", user)
		}
		return done(err, "%s can log in", user)
	case "reset-password":
		password, err := c.password(user)
		if err != nil {
			return err
		}
		err = c.Accounts.ResetPassword(ctx, user, password, !*keep)
		if *keep {
			return done(err, "%s has the new password, and stays logged in", user)
		}
		return done(err, "%s has the new password, and is logged out everywhere", user)
	case "promote":
		return done(c.Accounts.SetAdmin(ctx, user, true), "%s is an administrator, in all sessions", user)
	case "demote":
		return done(c.Accounts.SetAdmin(ctx, user, false), "%s is no administrator any more, in no session", user)
	case "log-out":
		return done(c.Accounts.LogOut(ctx, user), "%s is logged out everywhere", user)
	case "registration-token":
		if *uses < 0 || *good < 0 {
			return errors.New("-uses and -for are not negative")
		}
		var until time.Time
		if *good > 0 {
			until = time.Now().Add(*good)
		}
		token, err := c.Accounts.NewRegistrationToken(ctx, *uses, until)
		return done(err, "%s", token)
	case "revoke-token":
		token, err := c.secret("registration token")
		if err != nil {
			return err
		}
		return done(c.Accounts.RevokeRegistrationToken(ctx, token), "nobody can register with it any more")
	}
	return fmt.Errorf("there is no command %q; there are %s", name, strings.Join(Commands, ", "))
}

// user is the id of a user who may be named by it, or by the localpart.
func (c Console) user(name string) string {
	if strings.HasPrefix(name, "@") {
		return name
	}
	return id.User(strings.ToLower(name), c.ServerName)
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

func terminal(r io.Reader) bool {
	f, ok := r.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && f.Name() != os.DevNull
}

func stty(how string) error {
	cmd := exec.Command("stty", how)
	cmd.Stdin = os.Stdin
	return cmd.Run()
}
