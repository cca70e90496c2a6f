// The rig of the gateway's benchmarks: a model server that costs next to nothing, and a load that does.
//
//	rig mock ADDRESS:PORT    serves until it is killed
//	rig load                 one JSON order a line on stdin, one JSON result a line on stdout
package main

import (
	"fmt"
	"os"
)

func main() {
	var err error
	switch {
	case len(os.Args) == 3 && os.Args[1] == "mock":
		err = serve(os.Args[2])
	case len(os.Args) == 2 && os.Args[1] == "load":
		err = obey(os.Stdin, os.Stdout)
	default:
		err = fmt.Errorf("usage: rig mock ADDRESS:PORT | rig load")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
