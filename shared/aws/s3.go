package aws

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"

	"github.com/virga-im/virga/shared/blob"
)

// blobs implements blob.Store on S3.
//
// Whoever may read needs s3:ListBucket beside s3:GetObject, even without listing:
// without it S3 answers 403 for an object that does not exist. A Get or Stat has
// no s3:prefix, so a condition that requires one denies this too.
type blobs struct {
	bucket *string
	client func() (*s3.Client, error)
}

// NewBlobs returns the objects of the stack's bucket. It connects on first use.
func NewBlobs(o Options) blob.Store {
	return &blobs{
		bucket: &o.Bucket,
		client: lazily(o, newS3),
	}
}

func newS3(c sdk.Config) *s3.Client {
	return s3.NewFromConfig(c, func(o *s3.Options) {
		o.UsePathStyle = c.BaseEndpoint != nil // other servers have no name for each bucket
	})
}

// open checks the key and returns the client.
func (b *blobs) open(key string) (*s3.Client, error) {
	if err := checkObjectKey(key); err != nil {
		return nil, err
	}
	return b.client()
}

func checkObjectKey(key string) error {
	ok := key != "" && len(key) <= 1024 && !strings.HasPrefix(key, "/") && !strings.HasSuffix(key, "/")
	for _, c := range []byte(key) {
		ok = ok && ('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("._~/-", c) >= 0)
	}
	for segment := range strings.SplitSeq(key, "/") {
		ok = ok && segment != "." && segment != ".."
	}
	if !ok {
		return fmt.Errorf("%q is no key for an object", key)
	}
	return nil
}

// Put implements blob.Store. The content is gathered first, in memory or in a
// temporary file: S3 wants to know its length and the SDK wants to read it
// twice. So a reader that fails, or has another length, stores nothing.
func (b *blobs) Put(ctx context.Context, key, contentType string, r io.Reader, size int64) error {
	client, err := b.open(key)
	if err != nil {
		return err
	}
	content, err := gather(r, size)
	if err != nil {
		return fmt.Errorf("put %s: %w", key, err)
	}
	defer content.close()
	_, err = client.PutObject(ctx, &s3.PutObjectInput{
		Bucket: b.bucket, Key: &key, Body: content.ReadSeeker,
		ContentType: &contentType, ContentLength: &content.size,
	})
	if err != nil {
		return fmt.Errorf("put %s: %w", key, err)
	}
	return nil
}

// gathered is a content that was read to its end.
type gathered struct {
	io.ReadSeeker
	size int64
	file *os.File // to be removed, or nil
}

// inMemory is the largest content that is gathered in memory.
const inMemory = 1 << 20

func gather(r io.Reader, size int64) (g gathered, err error) {
	defer func() {
		if err != nil {
			g.close()
		}
	}()
	if size >= 0 {
		r = io.LimitReader(r, size+1) // one more tells that there is too much
	}
	var start bytes.Buffer
	g.size, err = io.Copy(&start, io.LimitReader(r, inMemory+1))
	if err != nil {
		return g, err
	}
	g.ReadSeeker = bytes.NewReader(start.Bytes())
	if g.size > inMemory {
		if g.file, err = os.CreateTemp("", "virga-put-"); err != nil {
			return g, err
		}
		if g.size, err = io.Copy(g.file, io.MultiReader(&start, r)); err != nil {
			return g, err
		}
		if _, err = g.file.Seek(0, io.SeekStart); err != nil {
			return g, err
		}
		g.ReadSeeker = g.file
	}
	if size >= 0 && g.size != size {
		return g, fmt.Errorf("the content does not have the %d bytes that were told", size)
	}
	return g, nil
}

func (g gathered) close() {
	if g.file != nil {
		_ = g.file.Close() // it was only read
		_ = os.Remove(g.file.Name())
	}
}

// Get implements blob.Store.
func (b *blobs) Get(ctx context.Context, key string) (io.ReadCloser, blob.Meta, error) {
	client, err := b.open(key)
	if err != nil {
		return nil, blob.Meta{}, err
	}
	out, err := client.GetObject(ctx, &s3.GetObjectInput{Bucket: b.bucket, Key: &key})
	if err != nil {
		return nil, blob.Meta{}, fmt.Errorf("get %s: %w", key, missingObject(err))
	}
	return out.Body, blob.Meta{
		Key: key, Size: sdk.ToInt64(out.ContentLength), ContentType: sdk.ToString(out.ContentType),
		Modified: sdk.ToTime(out.LastModified).UTC(),
	}, nil
}

// Stat implements blob.Store.
func (b *blobs) Stat(ctx context.Context, key string) (blob.Meta, error) {
	client, err := b.open(key)
	if err != nil {
		return blob.Meta{}, err
	}
	out, err := client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: b.bucket, Key: &key})
	if err != nil {
		return blob.Meta{}, fmt.Errorf("stat %s: %w", key, missingObject(err))
	}
	return blob.Meta{
		Key: key, Size: sdk.ToInt64(out.ContentLength), ContentType: sdk.ToString(out.ContentType),
		Modified: sdk.ToTime(out.LastModified).UTC(),
	}, nil
}

// missingObject names the error of a key without an object.
func missingObject(err error) error {
	var e smithy.APIError
	if errors.As(err, &e) && (e.ErrorCode() == "NoSuchKey" || e.ErrorCode() == "NotFound") {
		return fmt.Errorf("%w: %w", blob.ErrNotFound, err)
	}
	return err
}

// Delete implements blob.Store.
func (b *blobs) Delete(ctx context.Context, key string) error {
	client, err := b.open(key)
	if err != nil {
		return err
	}
	if _, err := client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: b.bucket, Key: &key}); err != nil {
		return fmt.Errorf("delete %s: %w", key, err)
	}
	return nil
}

// List implements blob.Store.
func (b *blobs) List(ctx context.Context, prefix, after string, limit int) ([]blob.Meta, error) {
	client, err := b.client()
	if err != nil {
		return nil, err
	}
	var metas []blob.Meta
	in := &s3.ListObjectsV2Input{Bucket: b.bucket, Prefix: &prefix}
	if after != "" {
		in.StartAfter = &after
	}
	for len(metas) < limit {
		in.MaxKeys = sdk.Int32(int32(min(limit-len(metas), 1000)))
		out, err := client.ListObjectsV2(ctx, in)
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", prefix, err)
		}
		for _, o := range out.Contents {
			metas = append(metas, blob.Meta{
				Key: sdk.ToString(o.Key), Size: sdk.ToInt64(o.Size), Modified: sdk.ToTime(o.LastModified).UTC(),
			})
		}
		if !sdk.ToBool(out.IsTruncated) {
			break
		}
		in.ContinuationToken = out.NextContinuationToken
	}
	return metas, nil
}
