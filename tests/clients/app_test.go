package clients

import (
	"context"
	"os/exec"
	"testing"
	"time"

	"github.com/virga-im/virga/tests/server"
)

// TestAnAppOnJSSDK runs jssdk/story.mjs, which is about what the SDK itself makes
// of the answers: names of rooms, local echoes, pagination.
func TestAnAppOnJSSDK(t *testing.T) {
	node := installJS(t)[0]
	s := server.Start(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, node, "jssdk/story.mjs", s.URL)
	var stderr []byte
	cmd.Stderr = writer(func(b []byte) { stderr = append(stderr, b...) })
	out, err := cmd.Output()
	t.Logf("came true:\n%s", out)
	if err != nil {
		t.Fatalf("and then: %v\n%s", err, stderr[max(0, len(stderr)-32<<10):])
	}
}
