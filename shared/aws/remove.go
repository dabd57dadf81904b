package aws

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/smithy-go"
)

// provider is what the custom resources of a stack are made and deleted with.
type provider struct {
	o   Options
	cfg sdk.Config
	log *slog.Logger
}

// atOnce is how many requests that delete are under way at once.
const atOnce = 6

// emptyBucket deletes all versions and delete markers of a bucket, a thousand a
// request, until a look finds none. A bucket that is not there is empty.
func (p *provider) emptyBucket(ctx context.Context, bucket string) error {
	client := newS3(p.cfg)
	for {
		n, err := p.emptyOnce(ctx, client, bucket)
		var e smithy.APIError
		if errors.As(err, &e) && e.ErrorCode() == "NoSuchBucket" {
			return nil
		}
		if n > 0 {
			p.log.LogAttrs(ctx, slog.LevelInfo, "objects deleted", slog.Int("versions", n))
		}
		if err != nil || n == 0 {
			return err
		}
	}
}

// emptyOnce deletes what one listing finds, and returns how many versions that
// was.
func (p *provider) emptyOnce(ctx context.Context, client *s3.Client, bucket string) (n int, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var deletes sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	in := &s3.ListObjectVersionsInput{Bucket: &bucket}
	for {
		var out *s3.ListObjectVersionsOutput
		if out, err = client.ListObjectVersions(ctx, in); err != nil {
			break
		}
		var found []s3types.ObjectIdentifier
		for _, v := range out.Versions {
			found = append(found, s3types.ObjectIdentifier{Key: v.Key, VersionId: v.VersionId})
		}
		for _, m := range out.DeleteMarkers {
			found = append(found, s3types.ObjectIdentifier{Key: m.Key, VersionId: m.VersionId})
		}
		n += len(found)
		if len(found) > 0 {
			slots <- struct{}{}
			deletes.Go(func() {
				defer func() { <-slots }()
				if err := deleteVersions(ctx, client, bucket, found); err != nil {
					cancel(err)
				}
			})
		}
		if !sdk.ToBool(out.IsTruncated) {
			break
		}
		in.KeyMarker, in.VersionIdMarker = out.NextKeyMarker, out.NextVersionIdMarker
	}
	deletes.Wait()
	if cause := context.Cause(ctx); cause != nil {
		err = cause // a delete failed, which ended the listing
	}
	return n, err
}

func deleteVersions(ctx context.Context, client *s3.Client, bucket string, versions []s3types.ObjectIdentifier) error {
	out, err := client.DeleteObjects(ctx, &s3.DeleteObjectsInput{
		Bucket: &bucket, Delete: &s3types.Delete{Objects: versions, Quiet: sdk.Bool(true)},
	})
	if err != nil {
		return err
	}
	if len(out.Errors) > 0 {
		e := out.Errors[0]
		return fmt.Errorf("%d objects stay, the first with %s: %s", len(out.Errors), sdk.ToString(e.Code), sdk.ToString(e.Message))
	}
	return nil
}

// deleteQueues deletes the queues whose names begin with the prefix, which no
// template names. SQS lists a queue for up to a minute after its end, so there is
// no second look; nobody is left who would make another.
func (p *provider) deleteQueues(ctx context.Context, prefix string) error {
	if !strings.HasPrefix(prefix, p.o.Stack+"_") {
		return fmt.Errorf("it is not of the stack %s", p.o.Stack)
	}
	client := sqs.NewFromConfig(p.cfg)
	var urls []string
	in := &sqs.ListQueuesInput{QueueNamePrefix: &prefix, MaxResults: sdk.Int32(1000)}
	for {
		out, err := client.ListQueues(ctx, in)
		if err != nil {
			return err
		}
		urls = append(urls, out.QueueUrls...)
		if in.NextToken = out.NextToken; in.NextToken == nil {
			break
		}
	}
	var deletes sync.WaitGroup
	var mu sync.Mutex
	var failed error
	left := make(chan string)
	for range atOnce {
		deletes.Go(func() {
			for url := range left {
				_, err := client.DeleteQueue(ctx, &sqs.DeleteQueueInput{QueueUrl: &url})
				var gone *sqstypes.QueueDoesNotExist
				if err != nil && !errors.As(err, &gone) {
					mu.Lock()
					failed = err
					mu.Unlock()
				}
			}
		})
	}
	for _, url := range urls {
		left <- url
	}
	close(left)
	deletes.Wait()
	if len(urls) > 0 {
		p.log.LogAttrs(ctx, slog.LevelInfo, "queues deleted", slog.Int("queues", len(urls)))
	}
	return failed
}
