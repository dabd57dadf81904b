package federation

import "github.com/virga-im/virga/shared/store"

// OutlivesRestore reports whether a row of the server table stays as it is when the
// server is put back to an earlier time: the signing key, which others have seen.
func OutlivesRestore(k store.Key) bool { return k == signingKey }
