package workers

import "github.com/virga-im/virga/shared/route"

// provider gives a stack on AWS what its template cannot make, which is the
// secret of the front door, and deletes with it what the template cannot. It is
// shared/aws that does so: it has nothing to do with Matrix.
var provider = route.Worker{
	Name: "provider",
	On:   route.Stack,
	Size: route.Background,
}
