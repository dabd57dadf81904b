// Package quiet keeps the runtime behind CDK from printing a banner on every run
// with Node 20, which works.
//
// It is a package because that runtime is started while the packages of CDK are
// initialised, when main has not begun. This one needs nothing but os, so Go
// initialises it before those that need more.
package quiet

import "os"

// The variable lists the major versions of Node to be silent about.
var _ = os.Setenv("JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION", "18,20")
