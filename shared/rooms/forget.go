package rooms

import "context"

// forgetLeft forgets a room for local users who have left it, or were made to, if the
// administrator has it so. Their devices were told of the departure before.
//
// https://github.com/matrix-org/matrix-spec-proposals/pull/4267
func (s *Service) forgetLeft(ctx context.Context, room string, own map[string]string) error {
	if !s.ForgetOnLeave {
		return nil
	}
	for user, eventID := range own {
		c, err := s.Log.Cursor(ctx, user, room)
		if err != nil {
			return err
		}
		n := len(c.Transitions)
		if c.Membership != "leave" && c.Membership != "ban" || c.Forgotten || n == 0 || c.Transitions[n-1].EventID != eventID {
			continue
		}
		if _, err := s.Log.Forget(ctx, user, room); err != nil {
			return err
		}
	}
	return nil
}
