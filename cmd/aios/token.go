package main

import "fmt"

// tokenCmd makes and reads capability tokens by hand.
type tokenCmd struct {
	Key       tokenKeyCmd       `cmd:"" help:"Make a key pair for an issuer or a holder of tokens."`
	Mint      tokenMintCmd      `cmd:"" help:"Make a token."`
	Attenuate tokenAttenuateCmd `cmd:"" help:"Pass a part of a token on, as its holder. What is not stated stays as it is."`
	Prove     tokenProveCmd     `cmd:"" help:"Prove to a host that one has the key of a token's holder, by signing the host's nonce. No host asks for it yet."`
	Revoke    tokenRevokeCmd    `cmd:"" help:"Add to an issuer's revocation list, or begin one. Running hosts get theirs from the verifier (aios agent)."`
	Inspect   tokenInspectCmd   `cmd:"" help:"Say in words who may do what until when, and why it would be refused."`
	Verify    tokenVerifyCmd    `cmd:"" help:"Check a token as a host would."`
}

// usageError is a mistake in the value of a flag.
func usageError(format string, args ...any) error {
	return &exitError{code: exitUsage, err: fmt.Errorf(format, args...)}
}
