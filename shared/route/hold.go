package route

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"net/http"
	"strings"
	"time"

	"github.com/virga-im/virga/shared/mxerr"
)

// A client that waits elsewhere is sent around by two redirects:
//
//	GET /_matrix/client/v3/sync?since=…  307 to /hold/sync/<ticket>/<place>/wait
//	GET /hold/sync/<ticket>/<place>/wait  307 to done, once it is woken or its time is up
//	GET /hold/sync/<ticket>/<place>/done  the answer
//
// Between the two may be further steps of waiting.
//
// The last one is another spelling of every route that a Poll answers: the same
// function with the same grants, limits and token, which is warm from the first
// request and looks once more, for what the ticket says was asked for. The one
// between belongs to whoever keeps the wake.Service: on AWS it is an integration
// of the gateway with the queue that the place names, without a function (see
// aws.HoldInQueue). Services that hold here, as the local one and HoldInLambda do,
// send nobody there, and the last spelling answers nobody but those who invent it.
//
// The ticket is there because nothing else survives the two redirects: a relative
// Location drops the query, and a URL that changed with each request would cost
// browsers a preflight each. It carries the query and is good for one route and
// one access token, until an hour that is the same for all tickets of the hour.
//
// What signs it is the access token itself, which the client sends again each
// time. A secret of the server would have to be a row of the server table, and
// would cost /sync a read and the right to read the signing key beside it. It
// would prove nothing more: whoever has the token can ask for any query anyway,
// and nobody else can make a ticket or alter one, since tokens have 256 random
// bits. Nothing is read to refuse one. The token is checked as on every request,
// so a ticket outlives no logout.

const (
	// maxTicket is the longest ticket, in characters. A request whose query needs
	// more waits here.
	maxTicket = 1024
	// ticketStep is what the end of a ticket is rounded up to. Browsers remember
	// a preflight for an hour or two.
	ticketStep = time.Hour
	// ticketGrace is how long after the wait a ticket is good at least.
	ticketGrace = 5 * time.Minute

	ticketHead = 4 + sha256.Size // the end in steps, and the MAC
)

// Polls reports whether requests to the route may wait (see Poll).
func (r Route) Polls() bool {
	_, ok := r.Handler.(interface{ polls() })
	return ok
}

// finish is the pattern that finishes a wait elsewhere.
func (r Route) finish() string {
	if strings.Contains(r.Path(), "{") {
		panic("route " + r.Name + ": a ticket carries the query, and no parameters of the path")
	}
	return r.Method() + " /hold/" + r.Name + "/{ticket}/{place}/done"
}

// finishes reports whether the request comes back from waiting elsewhere.
func (r Route) finishes(req *http.Request) bool { return r.Polls() && req.Pattern == r.finish() }

// away is where the client of a request with the ticket waits.
func (r Route) away(ticket, elsewhere string) string {
	return "/hold/" + r.Name + "/" + ticket + "/" + elsewhere
}

// connection names the connection of a request (see wake.Wait): those of one
// access token, and of a few kinds of what may be asked for besides since when.
// A client that asks in two ways at once has two connections then, most likely;
// one that asks in ever new ways does not have ever more of them.
func (r Route) connection(req *http.Request) string {
	token, err := accessToken(req)
	if err != nil || token == "" {
		return ""
	}
	m := hmac.New(sha256.New, []byte(token))
	m.Write([]byte("connection\x00" + r.Name))
	asked := req.URL.Query()
	asked.Del("since")
	asked.Del("timeout")
	kind := sha256.Sum256([]byte(asked.Encode()))
	return strings.ToLower(base32.StdEncoding.EncodeToString(m.Sum(nil)[:15])) + string('0'+kind[0]%4)
}

// ticket makes the ticket of a request that waits until then. It is empty if the
// client has to wait here: its query is too long, or has the token in it, which
// would not be sent again and must not be written anywhere.
func (r Route) ticket(req *http.Request, until time.Time) string {
	query := req.URL.RawQuery
	if strings.Contains(query, "access_token=") {
		return ""
	}
	token, err := accessToken(req)
	if err != nil {
		return ""
	}
	end := until.Add(ticketGrace + ticketStep - 1).Truncate(ticketStep)
	raw := binary.BigEndian.AppendUint32(nil, uint32(end.Unix()/int64(ticketStep/time.Second)))
	raw = append(raw, r.ticketMAC(token, raw, query)...)
	text := base64.RawURLEncoding.EncodeToString(append(raw, query...))
	if len(text) > maxTicket {
		return ""
	}
	return text
}

func (r Route) ticketMAC(token string, end []byte, query string) []byte {
	m := hmac.New(sha256.New, []byte(token))
	m.Write([]byte("hold\x00" + r.Name + "\x00"))
	m.Write(end)
	m.Write([]byte(query))
	return m.Sum(nil)
}

// resume returns the request as it was before it went to wait, or an error if its
// ticket is not one that this route made for this token, or is over.
func (r Route) resume(req *http.Request, now time.Time) (*http.Request, error) {
	was, u := req.WithContext(req.Context()), *req.URL
	was.URL, u.RawQuery = &u, "" // what is asked for is in the ticket alone
	token, err := accessToken(was)
	if err != nil {
		return nil, err
	}
	if token == "" && r.Auth == AccessToken {
		return nil, mxerr.MissingToken()
	}
	text := req.PathValue("ticket")
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(raw) < ticketHead || len(text) > maxTicket {
		return nil, mxerr.InvalidParam("This URL does not continue any request; ask again without it.")
	}
	end, mac, query := raw[:4], raw[4:ticketHead], string(raw[ticketHead:])
	if !hmac.Equal(mac, r.ticketMAC(token, end, query)) {
		return nil, mxerr.InvalidParam("This URL continues a request of another session; ask again without it.")
	}
	if now.Unix() >= int64(binary.BigEndian.Uint32(end))*int64(ticketStep/time.Second) {
		return nil, mxerr.InvalidParam("The request that this URL continues is over; ask again.")
	}
	u.RawQuery = query
	return was, nil
}

// sendAway sends the client to wait elsewhere.
func sendAway(w http.ResponseWriter, location string) {
	w.Header().Set("Location", location)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusTemporaryRedirect)
	_, _ = w.Write([]byte("{}"))
}
