package rehearsal

import (
	"bytes"
	"testing"

	"github.com/virga-im/virga/infra/aws/smoke/checks"
)

// TestADeployPassesSmoke looks at a stack as an administrator does after a deploy.
// What is found wrong here would be found wrong on an account.
func TestADeployPassesSmoke(t *testing.T) {
	t.Parallel()
	stack := Deploy(t, Options{Context: map[string]string{"registration": "open"}})
	var out bytes.Buffer
	if err := checks.Run(t.Context(), checks.Options{URL: stack.URL, PublicURL: stack.PublicURL}, &out); err != nil {
		t.Errorf("%v\n%s", err, &out)
	}
	t.Logf("%s", &out)
}
