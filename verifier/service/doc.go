// Package service is the verifier as a program that runs: it takes the connections of
// hosts, appraises each host round after round, hands leases and tokens to those that are
// found good, carries operators' commands to those that they concern, and shows all of it
// over a REST API.
//
// One goroutine a host runs the rounds, one carries orders, one listens to what happens to
// the host's agents; they share a connection on which requests do not wait for each other,
// so neither a slow host nor a slow round holds a command up.
//
// What it decides is decided elsewhere: by verifier/session on hosts, by
// verifier/authority on leases, tokens and commands, by verifier/enrol on who may be
// enrolled. What it remembers is on the disk before it is said; a kill -9 forgets nothing.
//
// docs/verifier-api.md describes the API, docs/operate-the-verifier.md its use.
package service
