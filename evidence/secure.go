package evidence

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"net"
	"time"

	"aios/captoken/mldsa"
)

// BindingSize is the length of what names one TLS connection (RFC 9266: an
// exporter of its keys).
const BindingSize = 32

const (
	protocol      = "aios-evidence/3" // ALPN
	exporterLabel = "EXPORTER-AIOS-evidence"
	serverName    = "verifier.aios.invalid" // for SNI; it names nobody
)

// introductionContext is the context string of the signature (FIPS 204, 5.2).
var introductionContext = []byte("AIOS verifier introduction v1")

// ErrIdentity says that the other end is not the verifier that the host was built
// to trust.
var ErrIdentity = errors.New("not the verifier that this host trusts")

// introduction is the first frame of a connection, by the verifier.
type introduction struct {
	Key       []byte `cbor:"1,keyasint"` // id of its identity key, 16 bytes
	Signature []byte `cbor:"2,keyasint"` // ML-DSA-65 over the exporter
}

// maxIntroduction bounds the encoded introduction, in bytes.
const maxIntroduction = 4096

// Listener makes TLS of the connections of hosts. Its certificate is made for it
// and proves nothing: who the verifier is says the introduction.
type Listener struct {
	config   *tls.Config
	identity *mldsa.PrivateKey
}

// NewListener makes one for a verifier with that identity.
func NewListener(identity *mldsa.PrivateKey) (*Listener, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Unix(0, 0),
		NotAfter: time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), DNSNames: []string{serverName}} // RFC 5280, 4.1.2.5: no end
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return &Listener{identity: identity, config: &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
		MinVersion:   tls.VersionTLS13, CurvePreferences: []tls.CurveID{tls.X25519MLKEM768},
		NextProtos: []string{protocol}, SessionTicketsDisabled: true,
	}}, nil
}

// Accept opens a session with the host behind conn: TLS, then the introduction.
// When ctx ends first, conn is closed.
func (l *Listener) Accept(ctx context.Context, conn net.Conn) (*Client, error) {
	t := tls.Server(conn, l.config)
	binding, err := handshake(ctx, t)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("TLS with %s: %w", conn.RemoteAddr(), err), conn.Close())
	}
	id := l.identity.Public().ID()
	signature, err := l.identity.SignHedged(binding[:], introductionContext)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	b, err := encode(&introduction{id[:], signature})
	if err == nil {
		stop := context.AfterFunc(ctx, func() { conn.Close() })
		err = writeFrame(t, b)
		stop()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("introduction to %s: %w", conn.RemoteAddr(), cause(ctx, err)), conn.Close())
	}
	c := newClient(t, binding)
	go c.read()
	return c, nil
}

// Secured is a host's connection to its verifier.
type Secured struct {
	*tls.Conn
	Binding [BindingSize]byte
}

// Secure makes the host's end of conn secure and checks that its other end is the
// verifier with that identity. Until it has returned nothing that names the host
// was sent. When ctx ends first, conn is closed.
func Secure(ctx context.Context, conn net.Conn, identity *mldsa.PublicKey) (*Secured, error) {
	t := tls.Client(conn, &tls.Config{
		// The introduction says who it is; a certificate could add nothing.
		InsecureSkipVerify: true, ServerName: serverName,
		MinVersion: tls.VersionTLS13, CurvePreferences: []tls.CurveID{tls.X25519MLKEM768}, NextProtos: []string{protocol},
	})
	binding, err := handshake(ctx, t)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("TLS with the verifier: %w", err), conn.Close())
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	err = introduced(t, identity, binding)
	stop()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("introduction of the verifier: %w", cause(ctx, err)), conn.Close())
	}
	return &Secured{t, binding}, nil
}

// introduced checks the first frame of the verifier.
func introduced(t *tls.Conn, identity *mldsa.PublicKey, binding [BindingSize]byte) error {
	body, m, err := readFrame(t, maxIntroduction)
	if err != nil {
		return err
	}
	var i introduction
	if m != nil {
		return fmt.Errorf("%w: a marker in the place of the introduction", ErrMessage)
	}
	if err := decode(body, &i); err != nil {
		return err
	}
	id := identity.ID()
	switch {
	case [16]byte(append(i.Key, id[:]...)[:16]) != id:
		return fmt.Errorf("%w: identity key expected %x, found %.32x", ErrIdentity, id, i.Key)
	case !identity.Verify(binding[:], introductionContext, i.Signature):
		return fmt.Errorf("%w: the signature of key %x over this connection is not good", ErrIdentity, id)
	}
	return nil
}

// handshake also says what names the connection.
func handshake(ctx context.Context, t *tls.Conn) (binding [BindingSize]byte, err error) {
	if err := t.HandshakeContext(ctx); err != nil {
		return binding, cause(ctx, err)
	}
	s := t.ConnectionState()
	if s.NegotiatedProtocol != protocol {
		return binding, fmt.Errorf("%w: protocol expected %q, found %q", ErrMessage, protocol, s.NegotiatedProtocol)
	}
	b, err := s.ExportKeyingMaterial(exporterLabel, nil, BindingSize)
	if err != nil {
		return binding, err
	}
	return [BindingSize]byte(b), nil
}
