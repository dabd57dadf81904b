package account

import (
	"context"
	"fmt"
	"sync"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
)

// LoadConfig returns a function that finds the SDK's configuration as the tools of
// AWS do, on its first call, and remembers it: environment, shared files, single
// sign-on. It fits aws.Options, for programs that people run.
func LoadConfig() func() (sdk.Config, error) {
	return sync.OnceValues(func() (sdk.Config, error) {
		cfg, err := config.LoadDefaultConfig(context.Background())
		if err != nil {
			return sdk.Config{}, fmt.Errorf("AWS configuration: %w", err)
		}
		return cfg, nil
	})
}
