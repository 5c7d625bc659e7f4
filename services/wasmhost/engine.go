package main

import "github.com/tetratelabs/wazero"

// engine is how a module is run.
func engine() wazero.RuntimeConfig { return wazero.NewRuntimeConfigCompiler() }
