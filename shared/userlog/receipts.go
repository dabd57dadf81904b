package userlog

import "context"

// The kinds of entries that tell of receipts.
const (
	// KindReceipt is a receipt of the user's own in Room; Type is its thread, empty
	// if it has none.
	KindReceipt Kind = "receipt"
	// KindReceipts are receipts in Room that were set while the room stood at From
	// or later.
	KindReceipts Kind = "receipts"
)

// AppendAll is Append for many users.
func (s *Service) AppendAll(ctx context.Context, users []string, e Entry) error {
	return each(users, func(user string) error {
		_, err := s.Append(ctx, user, e)
		return err
	})
}
