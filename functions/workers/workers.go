// Package workers is what runs behind the routes: one file for each worker.
package workers

import "github.com/virga-im/virga/shared/route"

// Workers are all workers.
var Workers = []route.Worker{
	fanOut,
	sweepFanOut,
	sweepChunks,
	endAbandonedCreations,
	finishDeactivations,
	work,
	provider,
}
