package services

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// scope is who signed a request for which service, as the request says.
type scope struct {
	accessKeyID, region, service string
	signed                       []string // the names of headers
	signature                    string
	presigned                    bool // in the query
}

// parseScope reads the signature of a request from its header or its query.
func parseScope(r *http.Request) (c scope, err error) {
	const algorithm = "AWS4-HMAC-SHA256"
	var credential, headers string
	query := r.URL.Query()
	if rest, ok := strings.CutPrefix(r.Header.Get("Authorization"), algorithm+" "); ok {
		for part := range strings.SplitSeq(rest, ",") {
			name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
			switch name {
			case "Credential":
				credential = value
			case "SignedHeaders":
				headers = value
			case "Signature":
				c.signature = value
			}
		}
	} else if query.Get("X-Amz-Algorithm") == algorithm {
		c.presigned = true
		credential, headers, c.signature = query.Get("X-Amz-Credential"), query.Get("X-Amz-SignedHeaders"), query.Get("X-Amz-Signature")
	} else {
		return c, errors.New("it is not signed")
	}
	parts := strings.Split(credential, "/") // key, day, region, service, aws4_request
	if len(parts) != 5 || parts[4] != "aws4_request" || headers == "" || c.signature == "" {
		return c, errors.New("its signature is not understood")
	}
	c.accessKeyID, c.region, c.service, c.signed = parts[0], parts[2], parts[3], strings.Split(headers, ";")
	return c, nil
}

// skew is how far the clocks of a client and of AWS may be apart.
const skew = 15 * time.Minute

// verify signs what was signed again and compares. So a request that a client
// signs for another region, or that something changes on its way, is refused here
// as it is by AWS.
func (c scope) verify(r *http.Request, body []byte, own Credentials, region string) error {
	query := r.URL.Query()
	date, token := r.Header.Get("X-Amz-Date"), r.Header.Get("X-Amz-Security-Token")
	hash := r.Header.Get("X-Amz-Content-Sha256")
	if c.presigned {
		date, token, hash = query.Get("X-Amz-Date"), query.Get("X-Amz-Security-Token"), "UNSIGNED-PAYLOAD"
	}
	sum := sha256.Sum256(body)
	at, err := time.Parse("20060102T150405Z", date)
	age := time.Since(at)
	switch {
	case err != nil:
		return err
	case c.region != region:
		return fmt.Errorf("the credential should be scoped to the region of the stack, and is to %s", c.region)
	case token != own.SessionToken:
		return errors.New("the security token included in the request is invalid")
	case !c.presigned && (age > skew || age < -skew):
		return fmt.Errorf("the signature expired: %s", date)
	case c.presigned:
		seconds, err := time.ParseDuration(query.Get("X-Amz-Expires") + "s")
		if err != nil || age > seconds {
			return errors.New("the request has expired")
		}
	case hash == "":
		hash = hex.EncodeToString(sum[:])
	case len(hash) == 64 && hash != hex.EncodeToString(sum[:]):
		return errors.New("the header x-amz-content-sha256 is not of the content")
	}
	again := &http.Request{Method: r.Method, Host: r.Host, Header: http.Header{}, URL: &url.URL{
		Scheme: "http", Host: r.Host, Path: r.URL.Path, RawPath: r.URL.RawPath, RawQuery: r.URL.RawQuery,
	}}
	for _, name := range c.signed {
		switch name {
		case "host":
		case "content-length":
			again.ContentLength = r.ContentLength
		default:
			again.Header[http.CanonicalHeaderKey(name)] = r.Header.Values(name)
		}
	}
	signer := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = c.service == "s3" })
	credentials := sdk.Credentials{AccessKeyID: own.AccessKeyID, SecretAccessKey: own.SecretAccessKey, SessionToken: own.SessionToken}
	var signature string
	if c.presigned {
		for name := range query {
			if strings.HasPrefix(name, "X-Amz-") && name != "X-Amz-Expires" {
				query.Del(name)
			}
		}
		again.URL.RawQuery = query.Encode()
		signed, _, err := signer.PresignHTTP(context.Background(), credentials, again, hash, c.service, c.region, at)
		if err != nil {
			return err
		}
		u, err := url.Parse(signed)
		if err != nil {
			return err
		}
		signature = u.Query().Get("X-Amz-Signature")
	} else {
		if err := signer.SignHTTP(context.Background(), credentials, again, hash, c.service, c.region, at); err != nil {
			return err
		}
		_, signature, _ = strings.Cut(again.Header.Get("Authorization"), "Signature=")
	}
	if signature != c.signature {
		return errors.New("the request signature we calculated does not match the signature you provided")
	}
	return nil
}
