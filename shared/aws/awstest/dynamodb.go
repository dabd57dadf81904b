package awstest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/virga-im/virga/shared/aws"
	"github.com/virga-im/virga/shared/store"
)

// The npm package that holds the server, pinned by its lock file.
//
//go:embed dynoxide/package.json dynoxide/package-lock.json
var npmPackage embed.FS

// DynamoDB starts a server as EmptyDynamoDB does. It holds the tables of
// store.Tables, empty, under the prefix of Stack, with time to live and, where
// they are streamed, a stream of keys.
func DynamoDB(t testing.TB) (endpoint string) {
	t.Helper()
	endpoint = EmptyDynamoDB(t)
	if err := createTables(t.Context(), endpoint); err != nil {
		t.Fatal(err)
	}
	return endpoint
}

// EmptyDynamoDB starts dynoxide, a DynamoDB-API server, on a free port of loopback
// for the length of the test, and returns its URL. A server takes about 20 ms to
// start.
//
// The server is one static binary for Linux on x86-64 that npm fetches once for
// the user's cache folder. Without it the test is skipped, or fails under CI.
func EmptyDynamoDB(t testing.TB) (endpoint string) {
	t.Helper()
	binary := dynoxide(t)
	for attempt := 1; ; attempt++ {
		endpoint, err := startDynoxide(t, binary)
		if err == nil {
			return endpoint
		}
		if attempt == 3 { // another process may have taken the port
			t.Fatal(err)
		}
	}
}

var dynoxideOnce = sync.OnceValues(installDynoxide)

func dynoxide(t testing.TB) string {
	t.Helper()
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		missing(t, "the DynamoDB-API server for tests exists for linux/amd64 only; the local store's tests cover the same contract")
	}
	binary, err := dynoxideOnce()
	if err != nil {
		missing(t, "the DynamoDB-API server for tests is not here and npm could not fetch it (it needs Node.js with npm, and once the network): %v", err)
	}
	return binary
}

// installDynoxide returns the path of the binary. Processes that install at the
// same time do so in folders of their own; the first to finish gives its folder
// the final name.
func installDynoxide() (string, error) {
	manifest, err := npmPackage.ReadFile("dynoxide/package.json")
	if err != nil {
		return "", err
	}
	lock, err := npmPackage.ReadFile("dynoxide/package-lock.json")
	if err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	cache = filepath.Join(cache, "virga")
	final := filepath.Join(cache, fmt.Sprintf("dynoxide-%x", sha256.Sum256(lock))[:len("dynoxide-")+12])
	binary := filepath.Join(final, "node_modules", "@dynoxide", "linux-x64", "dynoxide")
	if _, err := os.Stat(binary); err == nil {
		return binary, nil
	}
	npm, err := exec.LookPath("npm")
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp(cache, "install-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	for name, data := range map[string][]byte{"package.json": manifest, "package-lock.json": lock} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			return "", err
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("npm ci: %w\n%s", err, out)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return "", err
	}
	renameErr := os.Rename(dir, final)
	if _, err := os.Stat(binary); err != nil {
		return "", fmt.Errorf("%w (%v)", err, renameErr)
	}
	return binary, nil
}

func startDynoxide(t testing.TB, binary string) (endpoint string, err error) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	addr := free.Addr().(*net.TCPAddr)
	free.Close()
	var output bytes.Buffer
	cmd := exec.Command(binary, "serve", "--host", "127.0.0.1", "--port", fmt.Sprint(addr.Port))
	cmd.Env = []string{}
	cmd.Stdout, cmd.Stderr = &output, &output
	dieWithParent(cmd)
	if err := cmd.Start(); err != nil {
		return "", fmt.Errorf("start %s: %w", binary, err)
	}
	exited := make(chan struct{})
	go func() {
		_ = cmd.Wait() // it ends by being killed
		close(exited)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // an error means that it is gone
		<-exited
	})
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		select {
		case <-exited:
			return "", fmt.Errorf("dynoxide ended: %s", output.Bytes())
		case <-time.After(2 * time.Millisecond):
		}
		if conn, err := net.Dial("tcp", addr.String()); err == nil {
			conn.Close()
			return "http://" + addr.String(), nil
		}
	}
	return "", fmt.Errorf("dynoxide does not listen on %s", addr)
}

// CopyTables copies all tables of a stack to those of another name, as a restore of
// each to this moment would: nobody may write meanwhile. The server has no such
// operation of its own.
func CopyTables(t testing.TB, endpoint, from, to string) {
	t.Helper()
	if err := createTablesOf(t.Context(), endpoint, to); err != nil {
		t.Fatal(err)
	}
	at := Options(endpoint)
	at.Stack = from
	scan := aws.NewScan(at)
	at.Stack = to
	db := aws.NewDB(at)
	for _, table := range store.Tables {
		for it, err := range scan.Items(t.Context(), table) {
			if err == nil {
				_, err = db.Write(t.Context(), store.Put(table, it.Key, it.Attrs).Until(it.Expires))
			}
			if err != nil {
				t.Fatalf("copy the table %s: %v", table.Name, err)
			}
		}
	}
}

func createTables(ctx context.Context, endpoint string) error {
	return createTablesOf(ctx, endpoint, Stack)
}

func createTablesOf(ctx context.Context, endpoint, stack string) error {
	cfg, _ := Config(endpoint)()
	cfg.HTTPClient = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	client := dynamodb.NewFromConfig(cfg)
	for _, table := range store.Tables {
		name := aws.TableName(stack, table)
		in := &dynamodb.CreateTableInput{
			TableName:   &name,
			BillingMode: types.BillingModePayPerRequest,
			AttributeDefinitions: []types.AttributeDefinition{
				{AttributeName: sdk.String(store.PartAttr), AttributeType: types.ScalarAttributeTypeS},
				{AttributeName: sdk.String(store.SortAttr), AttributeType: types.ScalarAttributeTypeS},
			},
			KeySchema: []types.KeySchemaElement{
				{AttributeName: sdk.String(store.PartAttr), KeyType: types.KeyTypeHash},
				{AttributeName: sdk.String(store.SortAttr), KeyType: types.KeyTypeRange},
			},
		}
		if table.Streamed {
			in.StreamSpecification = &types.StreamSpecification{
				StreamEnabled: sdk.Bool(true), StreamViewType: types.StreamViewTypeKeysOnly,
			}
		}
		if _, err := client.CreateTable(ctx, in); err != nil {
			return fmt.Errorf("create table %s: %w", name, err)
		}
		_, err := client.UpdateTimeToLive(ctx, &dynamodb.UpdateTimeToLiveInput{
			TableName: &name,
			TimeToLiveSpecification: &types.TimeToLiveSpecification{
				AttributeName: sdk.String(store.TTL), Enabled: sdk.Bool(true),
			},
		})
		if err != nil {
			return fmt.Errorf("time to live of table %s: %w", name, err)
		}
	}
	return nil
}
