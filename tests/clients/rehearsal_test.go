package clients

import (
	"testing"

	"github.com/virga-im/virga/tests/rehearsal"
	"github.com/virga-im/virga/tests/server"
)

// unheard are the stories that need what no stack has, and what that is.
var unheard = map[string]string{
	"a phone is pushed to until it logs out": "a gateway on this machine, where functions send nothing",
}

// TestClientsLiveInTheDeployedShape tells all stories to the stack as it would be
// deployed: the clients wait at its queues, and follow its redirects.
func TestClientsLiveInTheDeployedShape(t *testing.T) {
	if server.RaceEnabled {
		t.Skip("no code of the server runs in this process")
	}
	stack := rehearsal.Deploy(t, rehearsal.Options{Context: map[string]string{"registration": "open", "rateLimits": "off", "presence": "on"}})
	t.Run("stories", func(t *testing.T) { tellStories(t, stack.URL, [2]sdk{jsSDK, mautrix}, unheard) })
	t.Run("apps", func(t *testing.T) { tellApps(t, stack.URL, 4) })
	waits := 0
	for call, n := range stack.Services.Calls() {
		if call.Operation == "ReceiveMessage" && call.Role == "InvokeRole" {
			waits += n
		}
	}
	t.Logf("clients waited at queues %d times", waits)
	if waits == 0 {
		t.Error("no client waited at a queue")
	}
}
