package aws

import "github.com/virga-im/virga/shared/wake"

// Settled returns the service with queues that can be used as soon as they are
// made.
func Settled(s wake.Service) wake.Service {
	s.(*hold).settles = 0
	return s
}

// Remembered is how many connections the service knows to have come back.
func Remembered(s wake.Service) int { return len(s.(*hold).back) }
