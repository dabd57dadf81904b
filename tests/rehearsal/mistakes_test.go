package rehearsal

import (
	"testing"

	"github.com/virga-im/virga/tests/rehearsal/mistakes"
)

// What the CDK accepts and AWS does not, for each shape of a stack.
func TestStacksHaveNoMistakes(t *testing.T) {
	for name, words := range map[string]map[string]string{
		"dev": {},
		"prod": {
			"stage": "prod", "domain": "m.example.org", "certificateArn": "arn:aws:acm:us-east-1:123456789012:certificate/0a1b", "hostedZoneId": "Z0123456789ABC",
			"alarms": "on", "alarmEmail": "admin@example.org", "budget": "10",
		},
		"groups": {"layout": "group"},
	} {
		t.Run(name, func(t *testing.T) {
			words["serverName"], words["arch"] = ServerName, "host"
			for _, m := range mistakes.Find(Read(t, words)) {
				t.Error(m)
			}
		})
	}
}
