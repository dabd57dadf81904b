package services

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"github.com/virga-im/virga/tests/rehearsal/iam"
)

// s3API is the API of S3 in front of gofakes3.
type s3API struct {
	s       *Services
	backend http.Handler
}

// newS3 creates the buckets of the template.
func newS3(s *Services) (*s3API, error) {
	a := &s3API{s, gofakes3.New(s3mem.New(), gofakes3.WithLogger(gofakes3.DiscardLog())).Server()}
	for _, id := range s.template.IDs("AWS::S3::Bucket") {
		var properties struct {
			VersioningConfiguration struct{ Status string }
		}
		if err := s.template.Decode(id, &properties); err != nil {
			return nil, err
		}
		name := s.template.Physical(id)
		if err := a.ask(http.MethodPut, "/"+name, ""); err != nil {
			return nil, fmt.Errorf("%s: %w", id, err)
		}
		if properties.VersioningConfiguration.Status != "Enabled" {
			continue
		}
		const enabled = `<VersioningConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Status>Enabled</Status></VersioningConfiguration>`
		if err := a.ask(http.MethodPut, "/"+name+"?versioning", enabled); err != nil {
			return nil, fmt.Errorf("%s: %w", id, err)
		}
	}
	return a, nil
}

// ask sends a request of ours to the backend.
func (a *s3API) ask(method, target, body string) error {
	rec := httptest.NewRecorder()
	a.backend.ServeHTTP(rec, httptest.NewRequest(method, target, strings.NewReader(body)))
	if rec.Code/100 != 2 {
		return fmt.Errorf("%s %s: %d %s", method, target, rec.Code, rec.Body)
	}
	return nil
}

// locate returns the bucket and the key of a request, be its bucket in the path
// or before the host of the endpoint.
func (a *s3API) locate(r *http.Request) (bucket, key string) {
	if name, _, ok := strings.Cut(r.Host, ".localhost"); ok && name != "" {
		return strings.TrimSuffix(name, ".s3"), strings.TrimPrefix(r.URL.Path, "/")
	}
	bucket, key, _ = strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	return bucket, key
}

// ofObject and ofBucket are the actions of requests, by method and by the name in
// the query that tells them apart.
//
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html
var (
	ofObject = map[string]string{
		"GET ": "GetObject", "HEAD ": "GetObject", "PUT ": "PutObject", "DELETE ": "DeleteObject",
		"GET versionId": "GetObjectVersion", "HEAD versionId": "GetObjectVersion", "DELETE versionId": "DeleteObjectVersion",
		"POST uploads": "PutObject", "PUT uploadId": "PutObject", "POST uploadId": "PutObject",
		"DELETE uploadId": "AbortMultipartUpload", "GET uploadId": "ListMultipartUploadParts",
	}
	ofBucket = map[string]string{
		"GET ": "ListBucket", "HEAD ": "ListBucket", "GET versions": "ListBucketVersions",
		"GET uploads": "ListBucketMultipartUploads", "GET location": "GetBucketLocation", "GET versioning": "GetBucketVersioning",
	}
	// details are further names in queries, which change nothing about the action.
	details = []string{
		"list-type", "prefix", "delimiter", "start-after", "continuation-token", "max-keys", "encoding-type", "fetch-owner", "marker",
		"key-marker", "version-id-marker", "upload-id-marker", "partNumber", "part-number-marker", "max-parts", "max-uploads", "x-id",
	}
)

// call implements api. The operation of a request is told by its action, but for
// DeleteObjects.
func (a *s3API) call(r *http.Request, body []byte) (operation string, needs []iam.Request) {
	bucket, key := a.locate(r)
	arn := "arn:" + a.s.template.Pseudo["AWS::Partition"] + ":s3:::" + bucket
	query := r.URL.Query()
	kind := ""
	for name := range query {
		switch {
		case slices.Contains(details, name), strings.HasPrefix(name, "response-"), strings.HasPrefix(name, "X-Amz-"):
		case kind == "":
			kind = name
		default:
			kind += "&" + name
		}
	}
	need := iam.Request{Resource: arn, Context: map[string]string{}}
	table := ofBucket
	if key != "" {
		need.Resource, table = arn+"/"+key, ofObject
	} else if prefix, ok := query["prefix"]; ok {
		need.Context["s3:prefix"] = prefix[0]
	}
	if key == "" && r.Method == http.MethodPost && kind == "delete" {
		return "DeleteObjects", a.deletions(arn, body)
	}
	operation = table[r.Method+" "+kind]
	if operation == "" || bucket == "" {
		return r.Method + " " + kind, []iam.Request{{Action: "s3:" + r.Method + "?" + kind, Resource: "a request that is not known here"}}
	}
	need.Action = "s3:" + operation
	needs = []iam.Request{need}
	if source := r.Header.Get("X-Amz-Copy-Source"); source != "" {
		if plain, err := url.PathUnescape(source); err == nil {
			source = plain
		}
		from, _, _ := strings.Cut(strings.TrimPrefix(source, "/"), "?")
		needs = append(needs, iam.Request{Action: "s3:GetObject", Resource: "arn:" + a.s.template.Pseudo["AWS::Partition"] + ":s3:::" + from})
	}
	return operation, needs
}

// objectVersion is a part of the request of DeleteObjects.
type objectVersion struct {
	Key       string
	VersionID string `xml:"VersionId"`
}

func (o objectVersion) need(bucketARN string) iam.Request {
	r := iam.Request{Action: "s3:DeleteObject", Resource: bucketARN + "/" + o.Key}
	if o.VersionID != "" {
		r.Action = "s3:DeleteObjectVersion"
	}
	return r
}

// deletions are what DeleteObjects needs. AWS would delete what is allowed and
// tell in its answer what is not; here one key that is not denies all.
func (a *s3API) deletions(arn string, body []byte) (needs []iam.Request) {
	var in struct{ Object []objectVersion }
	if xml.Unmarshal(body, &in) != nil || len(in.Object) == 0 {
		return []iam.Request{{Action: "s3:DeleteObjects", Resource: "a request that is not known here"}}
	}
	for _, o := range in.Object {
		needs = append(needs, o.need(arn))
	}
	return needs
}

// serve implements api.
func (a *s3API) serve(w http.ResponseWriter, r *http.Request, body []byte, from principal) {
	bucket, key := a.locate(r)
	if key == "" && r.Method == http.MethodPost {
		// The version of an object that was put without versions. The backend lists
		// it by this name and does not know it in DeleteObjects.
		body = bytes.ReplaceAll(body, []byte("<VersionId>null</VersionId>"), nil)
	}
	again := r.Clone(r.Context())
	again.Body = io.NopCloser(bytes.NewReader(body))
	again.URL.Path, again.URL.RawPath = "/"+bucket, ""
	if key != "" {
		again.URL.Path += "/" + key
	}
	rec := httptest.NewRecorder()
	a.backend.ServeHTTP(rec, again)
	// Without the right to list, nobody is told that an object does not exist.
	// No prefix is compared then.
	if rec.Code == http.StatusNotFound && key != "" && !from.root && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
		need := iam.Request{Action: "s3:ListBucket", Resource: "arn:" + a.s.template.Pseudo["AWS::Partition"] + ":s3:::" + bucket}
		if err := a.s.Ledger.Check(from.role.ARN, from.arn, need); err != nil {
			a.fail(w, r, denied, err.Error())
			return
		}
	}
	for name, values := range rec.Header() {
		w.Header()[name] = values
	}
	w.WriteHeader(rec.Code)
	_, _ = w.Write(rec.Body.Bytes()) // the client may be gone
}

// fail implements api.
func (a *s3API) fail(w http.ResponseWriter, r *http.Request, why failure, message string) {
	code, status := map[failure]string{
		denied: "AccessDenied", unknownKey: "InvalidAccessKeyId", badSignature: "SignatureDoesNotMatch", throttled: "SlowDown",
	}[why], http.StatusForbidden
	if why == throttled {
		status = http.StatusServiceUnavailable
	}
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	if r.Method == http.MethodHead {
		return
	}
	_, _ = io.WriteString(w, xml.Header)
	_ = xml.NewEncoder(w).Encode(struct {
		XMLName                          xml.Name `xml:"Error"`
		Code, Message, RequestID, HostID string
	}{Code: code, Message: message, RequestID: "REHEARSAL"})
}
