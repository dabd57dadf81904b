package main

import (
	"fmt"
	"io"
	"net"
	"path/filepath"

	"github.com/virga-im/virga/shared/config"
)

// greet tells what runs and what to do next. Programs that start the server read
// the line of the client API: from then on the listener accepts.
func greet(w io.Writer, cfg *config.Config, ls listeners) {
	client := "http://" + reachable(ls[0])
	data := cfg.Data
	if abs, err := filepath.Abs(data); err == nil {
		data = abs
	}
	fmt.Fprintf(w, "Virga is the Matrix homeserver of %s.\n\n", cfg.ServerName)
	fmt.Fprintf(w, "  client API      %s\n", client)
	if len(ls) > 1 {
		certificate := "self-signed"
		if cfg.TLSCert != "" {
			certificate = cfg.TLSCert
		}
		fmt.Fprintf(w, "  federation API  https://%s (certificate: %s)\n", reachable(ls[1]), certificate)
	}
	fmt.Fprintf(w, "  data            %s\n", data)
	fmt.Fprintf(w, "  registration    %s\n\n", cfg.Registration)
	switch {
	case cfg.Registration == config.RegistrationOpen:
		fmt.Fprintf(w, `To make a user:
  curl %s/_matrix/client/v3/register -d '{"username":"alice","password":"…","auth":{"type":"m.login.dummy"}}'
`, client)
	case cfg.RegistrationSharedSecret != "":
		fmt.Fprintf(w, "To make a user:\n  register_new_matrix_user -k '<the shared secret>' %s\n", client)
	case cfg.Registration == config.RegistrationToken && cfg.RegistrationToken != "":
		fmt.Fprint(w, "To make a user, register with a Matrix client and the registration token.\n")
	case cfg.Registration == config.RegistrationToken:
		fmt.Fprint(w, "To make a user, start with -registration-token as well, and register with a Matrix client and that token.\n")
	case cfg.Registration == config.RegistrationClosed:
		fmt.Fprint(w, "To make a user, stop and run it with: admin create-user NAME. Or start with -registration open, or with -registration-shared-secret and register_new_matrix_user.\n")
	}
	fmt.Fprint(w, "Stop with ^C; the next start continues.\n")
}

// reachable is the address of a listener as somebody on this machine may use it.
func reachable(l net.Listener) string {
	if addr, ok := l.Addr().(*net.TCPAddr); ok && addr.IP.IsUnspecified() {
		return fmt.Sprintf("localhost:%d", addr.Port)
	}
	return l.Addr().String()
}
