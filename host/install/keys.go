// Package install makes what an installation owns, once, and finds it again:
// its keys, its disk image and the firmware variables of its host.
package install

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"

	"aios/captoken"
	"aios/captoken/mldsa"
	"aios/host/state"
)

// Keys are the ML-DSA-65 keys of an installation, one for each purpose. Its Secure
// Boot keys, which are RSA, are handled by boot/secureboot and stay in files.
type Keys struct {
	Manifest *mldsa.PrivateKey // signs system manifests and reference values
	Result   *mldsa.PrivateKey // signs attestation results
	Token    *mldsa.PrivateKey // signs leases and capability tokens; hosts get its public part in the manifest's issuer=
	Identity *mldsa.PrivateKey // what the verifier introduces itself with to hosts; its public part is the manifest's identity=
	Operator *mldsa.PrivateKey // signs the commands of this installation's first operator
	Made     bool              // any key by this call
}

// OperatorRole is the role in which the installation's own operator acts.
const OperatorRole = "operator"

// Installation names the installation in commands, so that one which was signed for
// another is worth nothing here: "aios-" and 16 hex digits of the identity key's id.
func (k *Keys) Installation() string {
	id := k.Identity.Public().ID()
	return "aios-" + hex.EncodeToString(id[:8])
}

// TokenSigner is the token key as captoken takes it.
func (k *Keys) TokenSigner() *captoken.PrivateKey { return captoken.NewPrivateKey(k.Token) }

// OperatorSigner is the operator's key as captoken takes it.
func (k *Keys) OperatorSigner() *captoken.PrivateKey { return captoken.NewPrivateKey(k.Operator) }

// VerifierIdentity and VerifierIssuer are the raw public keys of the manifest's
// verifier line.
func (k *Keys) VerifierIdentity() []byte { return k.Identity.Public().Bytes() }
func (k *Keys) VerifierIssuer() []byte   { return k.Token.Public().Bytes() }

// ManifestID and ResultID name the keys as the manifest and the console do.
func (k *Keys) ManifestID() string { return keyID(k.Manifest) }
func (k *Keys) ResultID() string   { return keyID(k.Result) }

func keyID(k *mldsa.PrivateKey) string {
	id := k.Public().ID()
	return hex.EncodeToString(id[:])
}

// EnsureKeys reads the keys and makes those that are missing. A key that is
// there but cannot be read is an error, never replaced: what it signed would be
// worthless.
func EnsureKeys(d *state.Dir) (*Keys, error) {
	var k Keys
	for _, f := range []struct {
		private, public string
		into            **mldsa.PrivateKey
	}{
		{d.ManifestKey(), d.ManifestPublic(), &k.Manifest},
		{d.ResultKey(), d.ResultPublic(), &k.Result},
		{d.TokenKey(), d.TokenPublic(), &k.Token},
		{d.IdentityKey(), d.IdentityPublic(), &k.Identity},
		{d.OperatorKey(), d.OperatorPublic(), &k.Operator},
	} {
		key, made, err := ensureKey(f.private)
		if err != nil {
			return nil, err
		}
		*f.into = key
		k.Made = k.Made || made
		if err := ensurePublic(f.public, key.Public()); err != nil {
			return nil, err
		}
	}
	return &k, nil
}

func ensureKey(path string) (key *mldsa.PrivateKey, made bool, err error) {
	key, err = mldsa.ReadPrivateKeyFile(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, false, err
	}
	if key, err = mldsa.GenerateKey(); err != nil {
		return nil, false, err
	}
	return key, true, mldsa.CreatePrivateKeyFile(path, key)
}

// ensurePublic keeps the public file beside the private one; a different key in
// it means that files of two installations were mixed.
func ensurePublic(path string, key *mldsa.PublicKey) error {
	keys, err := mldsa.ReadPublicKeyFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return mldsa.CreatePublicKeyFile(path, key)
	case err != nil:
		return err
	case len(keys) != 1 || !keys[0].Equal(key):
		return fmt.Errorf("%s is not the public key of the private key beside it: remove the .pub file if the private key is the right one", path)
	}
	return nil
}
