package accounts

// Credentials is what a client gets when it registers, logs in or refreshes.
type Credentials struct {
	UserID       string `json:"user_id"`
	DeviceID     string `json:"device_id,omitempty"`
	AccessToken  string `json:"access_token,omitempty"`
	RefreshToken string `json:"refresh_token,omitempty"`
	// ExpiresInMS is zero for access tokens that do not expire.
	ExpiresInMS int64 `json:"expires_in_ms,omitempty"`
}
