package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/virga-im/virga/shared/archive"
	"github.com/virga-im/virga/shared/config"
	"github.com/virga-im/virga/shared/local"
	"github.com/virga-im/virga/shared/store"
)

// Export writes all that a stopped server keeps in its data folder to w, and its media
// to the folder media, or refuses if that is empty and there are some.
func Export(ctx context.Context, cfg *config.Config, w io.Writer, media string) (archive.Summary, error) {
	name, err := os.ReadFile(filepath.Join(cfg.Data, serverNameFile))
	if err != nil || strings.TrimSpace(string(name)) == "" {
		return archive.Summary{}, fmt.Errorf("there is no server in %s: -data names the folder to export", cfg.Data)
	}
	db, err := local.Open(local.Options{Dir: cfg.Data, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return archive.Summary{}, err
	}
	sum, err := exportOpen(ctx, db, strings.TrimSpace(string(name)), w, media)
	return sum, errors.Join(err, db.Close())
}

// Export writes all that a running server had stored when it was called. What is
// written later is not in it, so it is no way to move a server that is in use.
func (p *Process) Export(ctx context.Context, w io.Writer, media string) (archive.Summary, error) {
	return exportOpen(ctx, p.Store, p.rt.Server.About.Config.ServerName, w, media)
}

func exportOpen(ctx context.Context, db *local.Local, serverName string, w io.Writer, media string) (archive.Summary, error) {
	now, err := db.Snapshot()
	if err != nil {
		return archive.Summary{}, err
	}
	sum, err := archive.Export(ctx, w, archive.From{
		ServerName: serverName, Release: archive.Release(), Source: now, Blobs: db.Blobs(), Media: media, Now: time.Now(),
	})
	return sum, errors.Join(err, now.Close())
}

// Import makes the data folder of a file that Export wrote. The folder must be new,
// or empty. Until all is there it has another name, so that no server opens a part. An
// import that fails leaves nothing; one that is killed goes on when it is repeated.
func Import(ctx context.Context, cfg *config.Config, r io.Reader, media string) (archive.Summary, error) {
	list, err := os.ReadDir(cfg.Data)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return archive.Summary{}, err
	}
	if len(list) > 0 {
		return archive.Summary{}, fmt.Errorf("the folder %s is not empty: -data names a new folder to import into", cfg.Data)
	}
	dir := filepath.Clean(cfg.Data) + ".importing"
	_, err = os.Stat(dir)
	begun := err == nil
	sum, err := importInto(ctx, cfg, dir, r, media)
	switch {
	case err == nil:
		return sum, publish(dir, cfg)
	case begun:
		return sum, fmt.Errorf("%w (%s is from an import that was interrupted)", err, dir)
	}
	return sum, errors.Join(err, os.RemoveAll(dir))
}

func importInto(ctx context.Context, cfg *config.Config, dir string, r io.Reader, media string) (archive.Summary, error) {
	// Nothing is acknowledged before all is there: publish syncs it together.
	db, err := local.Open(local.Options{Dir: dir, NoSync: true, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return archive.Summary{}, err
	}
	sum, err := archive.Import(ctx, r, archive.Into{
		ServerName: cfg.ServerName, DB: db.DB(), Source: tables{db}, Queues: db.Queues(), Blobs: db.Blobs(), Media: media, Now: time.Now(),
	})
	return sum, errors.Join(err, db.Close())
}

// publish makes a finished folder durable and gives it its name.
func publish(dir string, cfg *config.Config) error {
	if err := claim(dir, cfg.ServerName); err != nil {
		return err
	}
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return syncFile(name, d.IsDir())
	})
	if err != nil {
		return err
	}
	if err := os.Remove(cfg.Data); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Rename(dir, cfg.Data); err != nil {
		return err
	}
	return syncFile(filepath.Dir(filepath.Clean(cfg.Data)), true)
}

func syncFile(name string, folder bool) error {
	if folder && runtime.GOOS == "windows" {
		return nil // it has no such thing
	}
	how := os.O_RDWR
	if folder {
		how = os.O_RDONLY
	}
	f, err := os.OpenFile(name, how, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// tables are those of an open store, each as it is when it is asked for.
type tables struct{ db *local.Local }

// Items implements archive.Source.
func (t tables) Items(ctx context.Context, table *store.Table) iter.Seq2[store.Item, error] {
	return func(yield func(store.Item, error) bool) {
		now, err := t.db.Snapshot()
		if err != nil {
			yield(store.Item{}, err)
			return
		}
		defer now.Close()
		now.Items(ctx, table)(yield)
	}
}
