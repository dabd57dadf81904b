package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/virga-im/virga/infra/local/process"
	"github.com/virga-im/virga/shared/archive"
	"github.com/virga-im/virga/shared/config"
)

// The commands that move a whole server. The file is described in shared/archive.
var moves = map[string]func(context.Context, *config.Config, string) (archive.Summary, error){
	"export": exportTo,
	"import": importFrom,
}

const moveUsage = `  export [flags] FILE   write all that a stopped server keeps to FILE (- is the output)
  import [flags] FILE   make a server, in a new -data folder, of FILE (- is the input)

The file is as secret as the server: with it anybody is the server, and its users.
Media are in the folder FILE.media beside it.
`

// move runs the command named by the first of args, which end with the name of a file.
func move(ctx context.Context, args []string) error {
	name, args := args[0], args[1:]
	file := ""
	if n := len(args); n > 0 && (args[n-1] == "-" || !strings.HasPrefix(args[n-1], "-")) {
		file, args = args[n-1], args[:n-1]
	}
	cfg, err := config.Load(config.Input{Args: args, Env: os.LookupEnv, ReadFile: readYAML})
	if errors.Is(err, flag.ErrHelp) {
		fmt.Print(moveUsage)
		return nil
	}
	if err != nil {
		return err
	}
	if file == "" {
		return fmt.Errorf("say at the end which file to %s, or - for a pipe", name)
	}
	sum, err := moves[name](ctx, cfg, file)
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "%sed %d rows and %d media; %d rooms, whose states sum up to %s\n", name, sum.Total(), sum.Blobs, sum.Rooms, sum.Roots)
	return nil
}

func exportTo(ctx context.Context, cfg *config.Config, file string) (archive.Summary, error) {
	if file == "-" {
		return process.Export(ctx, cfg, os.Stdout, "")
	}
	return archive.ToFile(file, func(w io.Writer, media string) (archive.Summary, error) {
		return process.Export(ctx, cfg, w, media)
	})
}

func importFrom(ctx context.Context, cfg *config.Config, file string) (archive.Summary, error) {
	if file == "-" {
		return process.Import(ctx, cfg, os.Stdin, "")
	}
	return archive.FromFile(file, func(r io.Reader, media string) (archive.Summary, error) {
		return process.Import(ctx, cfg, r, media)
	})
}
