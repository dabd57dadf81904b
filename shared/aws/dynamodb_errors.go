package aws

import (
	"context"
	"errors"
	"fmt"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"

	"github.com/virga-im/virga/shared/store"
)

// throttled reports whether DynamoDB refused to begin. A transaction in progress
// is no such refusal, although the SDK pauses for it alike: it may yet succeed.
func throttled(err error) bool {
	var e smithy.APIError
	if !errors.As(err, &e) {
		return false
	}
	switch e.ErrorCode() {
	case "ProvisionedThroughputExceededException", "ThrottlingException", "RequestLimitExceeded":
		return true
	}
	return false
}

// mapped gives an error that nothing depends on being certain about (of a read,
// or of a write's only attempt) its name in the contract.
func mapped(err error) error {
	var conflict *types.TransactionConflictException
	switch {
	case err == nil:
		return nil
	case throttled(err):
		return fmt.Errorf("%w: %w", store.ErrThrottled, err)
	case errors.As(err, &conflict):
		return fmt.Errorf("%w: %w", store.ErrConflict, err)
	}
	return err
}

// failedWrite gives the error of a single write its name in the contract.
func failedWrite(err error, r *repeats) error {
	if r.unsure {
		// An earlier attempt got no answer and may have written. What this one met
		// (its own item, for example) proves nothing.
		return fmt.Errorf("whether it was written is not known: %w", plain(err))
	}
	var failed *types.ConditionalCheckFailedException
	if errors.As(err, &failed) {
		it, err := decodeItem(failed.Item)
		if err != nil {
			return err
		}
		return &store.ConditionFailed{Failed: map[int]store.Item{0: it}}
	}
	return mapped(err)
}

// failedTransaction does the same for a transaction. Its request token makes a
// repetition answer as the first attempt did, so that failed conditions are
// certain even then; refusals are not.
func failedTransaction(err error, r *repeats) error {
	var canceled *types.TransactionCanceledException
	if !errors.As(err, &canceled) {
		if r.unsure {
			return fmt.Errorf("whether it was written is not known: %w", plain(err))
		}
		return mapped(err)
	}
	failed := map[int]store.Item{}
	var conflict, throttle bool
	for i, reason := range canceled.CancellationReasons {
		switch sdk.ToString(reason.Code) {
		case "ConditionalCheckFailed":
			it, err := decodeItem(reason.Item)
			if err != nil {
				return err
			}
			failed[i] = it
		case "TransactionConflict":
			conflict = true
		case "ThrottlingError", "ProvisionedThroughputExceeded":
			throttle = true
		}
	}
	switch {
	case len(failed) > 0:
		return &store.ConditionFailed{Failed: failed}
	case r.unsure:
		return fmt.Errorf("whether it was written is not known: %w", plain(err))
	case conflict:
		return fmt.Errorf("%w: %w", store.ErrConflict, err)
	case throttle:
		return fmt.Errorf("%w: %w", store.ErrThrottled, err)
	}
	return err
}

// plain keeps the text of an error, and of its chain only the end of a context.
func plain(err error) error {
	for _, end := range []error{context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, end) {
			return fmt.Errorf("%w: %s", end, err.Error())
		}
	}
	return errors.New(err.Error())
}

// repeats is the retryer of one write. It passes on what the client's retryer
// would do, except that after an attempt of unknown outcome a write that must
// not happen twice is not repeated, and that unsure is remembered.
type repeats struct {
	sdk.RetryerV2
	harmless bool // repeating it after it was written changes nothing
	unsure   bool // it was repeated after an attempt of unknown outcome
}

// IsErrorRetryable implements the SDK's Retryer.
func (r *repeats) IsErrorRetryable(err error) bool {
	if !r.RetryerV2.IsErrorRetryable(err) {
		return false
	}
	if throttled(err) {
		return true
	}
	if !r.harmless {
		return false
	}
	r.unsure = true
	return true
}

// use makes a client's call use the retryer. It wraps the client's own, whose
// budget of retries is shared by all calls.
func (r *repeats) use(o *dynamodb.Options) {
	if v2, ok := o.Retryer.(sdk.RetryerV2); ok {
		r.RetryerV2 = v2
	} else {
		r.RetryerV2 = sdk.RetryerV2(newRetryer().(sdk.RetryerV2))
	}
	o.Retryer = r
}
