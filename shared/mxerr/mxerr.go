// Package mxerr holds the errors that Matrix clients and servers see: an error
// code of the specification, its HTTP status, and a sentence for a person.
//
// https://spec.matrix.org/v1.19/client-server-api/#standard-error-response
package mxerr

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"time"
)

// Error is a standard error response. Its text reaches the client.
type Error struct {
	Status  int    // HTTP status
	Code    string // errcode
	Message string // a sentence that helps the person who reads it
	// Fields are further keys of the body, such as soft_logout.
	Fields map[string]any
}

// Error returns the code and the sentence.
func (e *Error) Error() string { return e.Code + ": " + e.Message }

// MarshalJSON writes errcode, error and the further fields.
func (e *Error) MarshalJSON() ([]byte, error) {
	body := map[string]any{}
	maps.Copy(body, e.Fields)
	// The first answer of user-interactive authentication is a 401 without a code.
	if e.Code != "" {
		body["errcode"], body["error"] = e.Code, e.Message
	}
	return json.Marshal(body)
}

// With returns a copy of e with one more field in the body.
func (e *Error) With(key string, value any) *Error {
	c := *e
	c.Fields = maps.Clone(e.Fields)
	if c.Fields == nil {
		c.Fields = map[string]any{}
	}
	c.Fields[key] = value
	return &c
}

// As returns the Matrix error in err's chain, or nil.
func As(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return nil
}

// Is reports whether err is a Matrix error with the given code.
func Is(err error, code string) bool {
	e := As(err)
	return e != nil && e.Code == code
}

// New returns an error with any status and code; prefer the named constructors.
func New(status int, code, format string, args ...any) *Error {
	return &Error{Status: status, Code: code, Message: fmt.Sprintf(format, args...)}
}

// Forbidden is 403 M_FORBIDDEN: the user may not do this.
func Forbidden(format string, args ...any) *Error {
	return New(http.StatusForbidden, "M_FORBIDDEN", format, args...)
}

// NotFound is 404 M_NOT_FOUND: there is no such thing, or it may not be known.
func NotFound(format string, args ...any) *Error {
	return New(http.StatusNotFound, "M_NOT_FOUND", format, args...)
}

// Unrecognized is 404 M_UNRECOGNIZED: the endpoint does not exist.
func Unrecognized(format string, args ...any) *Error {
	return New(http.StatusNotFound, "M_UNRECOGNIZED", format, args...)
}

// NotJSON is 400 M_NOT_JSON: the body is not JSON.
func NotJSON(format string, args ...any) *Error {
	return New(http.StatusBadRequest, "M_NOT_JSON", format, args...)
}

// BadJSON is 400 M_BAD_JSON: the body is JSON of the wrong shape.
func BadJSON(format string, args ...any) *Error {
	return New(http.StatusBadRequest, "M_BAD_JSON", format, args...)
}

// MissingParam is 400 M_MISSING_PARAM: a required parameter is absent.
func MissingParam(format string, args ...any) *Error {
	return New(http.StatusBadRequest, "M_MISSING_PARAM", format, args...)
}

// InvalidParam is 400 M_INVALID_PARAM: a parameter has an impossible value.
func InvalidParam(format string, args ...any) *Error {
	return New(http.StatusBadRequest, "M_INVALID_PARAM", format, args...)
}

// Unknown is 400 M_UNKNOWN: the request failed for a reason without a code.
func Unknown(format string, args ...any) *Error {
	return New(http.StatusBadRequest, "M_UNKNOWN", format, args...)
}

// TooLarge is 413 M_TOO_LARGE: the request or the event exceeds a limit.
func TooLarge(format string, args ...any) *Error {
	return New(http.StatusRequestEntityTooLarge, "M_TOO_LARGE", format, args...)
}

// MissingToken is 401 M_MISSING_TOKEN: no access token was sent.
func MissingToken() *Error {
	return New(http.StatusUnauthorized, "M_MISSING_TOKEN", "This needs an access token.")
}

// UnknownToken is 401 M_UNKNOWN_TOKEN. With soft the client keeps its keys and
// logs in again; without it the client forgets the session.
func UnknownToken(soft bool, format string, args ...any) *Error {
	return New(http.StatusUnauthorized, "M_UNKNOWN_TOKEN", format, args...).With("soft_logout", soft)
}

// UserLocked is 401 M_USER_LOCKED: the account cannot be used at this time. The
// client keeps its keys and its access token.
func UserLocked() *Error {
	return New(http.StatusUnauthorized, "M_USER_LOCKED", "This account was locked by an administrator of the server.").With("soft_logout", true)
}

// UserSuspended is 403 M_USER_SUSPENDED: the user may read, and not do this.
func UserSuspended() *Error {
	return New(http.StatusForbidden, "M_USER_SUSPENDED", "You cannot do this while your account is suspended.")
}

// LimitExceeded is 429 M_LIMIT_EXCEEDED.
func LimitExceeded(retryAfter time.Duration) *Error {
	return New(http.StatusTooManyRequests, "M_LIMIT_EXCEEDED", "Too many requests; try again in %s.", retryAfter.Round(time.Second)).
		With("retry_after_ms", retryAfter.Milliseconds())
}

// Internal is what a client sees of an internal error: nothing but the request
// id under which the log has the rest.
func Internal(requestID string) *Error {
	return New(http.StatusInternalServerError, "M_UNKNOWN", "The server failed to answer; its log has the reason under request %s.", requestID)
}
