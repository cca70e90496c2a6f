module rig

go 1.24
