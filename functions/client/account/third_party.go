package account

import (
	"net/http"

	"github.com/virga-im/virga/shared/mxerr"
)

// No account has an e-mail address or a phone number, as this server sends neither
// e-mails nor messages, and asks no identity server. The capability m.3pid_changes
// says so to clients. Those that ask for a token all the same get the error that the
// specification has for it, and learn of no account.

// emailToken asks for a token to be sent to an e-mail address.
type emailToken struct {
	ClientSecret string `json:"client_secret" required:"true"`
	Email        string `json:"email" required:"true"`
	SendAttempt  int64  `json:"send_attempt" required:"true"`
}

// phoneToken asks for one to be sent to a phone number.
type phoneToken struct {
	ClientSecret string `json:"client_secret" required:"true"`
	Country      string `json:"country" required:"true"`
	PhoneNumber  string `json:"phone_number" required:"true"`
	SendAttempt  int64  `json:"send_attempt" required:"true"`
}

// registersNo is for those who want an account.
func registersNo(what string) error {
	return mxerr.New(http.StatusForbidden, "M_THREEPID_DENIED", "This server does not ask for %s; register without one.", what)
}

// resetsBy is for those who forgot their password.
func resetsBy(what string) error {
	return mxerr.New(http.StatusBadRequest, "M_THREEPID_NOT_FOUND", "No account has %s. Ask the administrator of this server for another password.", what)
}

// addsNo is for those who want to add one to their account.
func addsNo(what string) error {
	return mxerr.New(http.StatusBadRequest, "M_THREEPID_MEDIUM_NOT_SUPPORTED", "This server does not keep %s for accounts.", what)
}

const (
	email = "an e-mail address"
	phone = "a phone number"
)
