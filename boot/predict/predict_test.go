package predict

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"aios/boot/manifest"
	"aios/boot/measure"
	"aios/captoken/mldsa"
)

// signer is an RSA key with a certificate, as in db.
type signer struct {
	key  *rsa.PrivateKey
	cert *x509.Certificate
}

func newSigner(name string) (signer, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return signer{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(int64(len(name))),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Unix(0, 0),
		NotAfter:     time.Unix(1<<33, 0),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return signer{}, err
	}
	cert, err := x509.ParseCertificate(der)
	return signer{key, cert}, err
}

// signers are made once: RSA keys are slow to make.
var signers = sync.OnceValues(func() (s [2]signer, err error) {
	for i, name := range []string{"db", "another"} {
		if s[i], err = newSigner(name); err != nil {
			return s, err
		}
	}
	return s, nil
})

func manifestKey(t testing.TB, label string) *mldsa.PrivateKey {
	t.Helper()
	seed := sha256.Sum256([]byte(label))
	k, err := mldsa.NewPrivateKey(seed[:])
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func exampleInput(t testing.TB) Input {
	t.Helper()
	s, err := signers()
	if err != nil {
		t.Fatal(err)
	}
	image := func(file string) manifest.Image {
		return manifest.Image{File: file, SHA256: sha256.Sum256([]byte(file)), Size: int64(len(file))}
	}
	m := &manifest.Manifest{
		Version: 7,
		Kernel:  image("kernel.elf"),
		Policy:  image("policy.tar.gz"),
		Services: []manifest.Service{
			{Name: "attestd", Image: image("attestd.elf"), Restart: manifest.RestartAlways, Memory: 1 << 20},
			{Name: "netd", Image: image("netd.elf"), Restart: manifest.RestartNever, Memory: 1 << 20},
		},
		Runtimes: []manifest.Runtime{{Name: "wasmhost", Image: image("wasmhost.elf")}},
		Agents:   []manifest.Agent{{Name: "hello", Image: image("hello.wasm"), Runtime: "wasmhost", Memory: 1 << 20}},
	}
	key := manifestKey(t, "manifest")
	envelope, err := manifest.Sign(m.Encode(), key)
	if err != nil {
		t.Fatal(err)
	}
	system, err := manifest.OpenSigned(envelope, []*mldsa.PublicKey{key.Public()}, 1)
	if err != nil {
		t.Fatal(err)
	}
	return Input{
		Profile:     OVMF,
		ImageSHA256: sha256.Sum256([]byte("image")),
		Variables: Variables{
			PK:  signatureList(certX509, []byte("the PK certificate")),
			KEK: signatureList(certX509, []byte("the KEK certificate")),
			Db:  signatureList(certX509, s[0].cert.Raw),
		},
		Boot:   signPE(t, plainPE(), s[0]),
		Conf:   manifest.Conf{Slot: "a", Cmdline: "quiet"}.Encode(),
		System: system,
	}
}

func predict(t testing.TB, in Input) *Reference {
	t.Helper()
	r, err := Predict(in)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// The values are computed here a second time, by the formula of the TPM specification
// over the list of what a boot does, and not with the package's own code.
func TestPredict(t *testing.T) {
	in := exampleInput(t)
	r := predict(t, in)

	// The Authenticode hash of plainPE: all but checksum, certificate table and its entry.
	app := plainPE()
	plain := sha256.New()
	plain.Write(app[:0x98+64])
	plain.Write(app[0x98+68 : 0x98+144])
	plain.Write(app[0x98+152:])

	type extension struct {
		pcr    int
		digest []byte
	}
	hash := func(data []byte) []byte { s := sha256.Sum256(data); return s[:] }
	extensions := []extension{
		{4, hash([]byte("Calling EFI Application from Boot Option"))},
		{4, hash([]byte{0, 0, 0, 0})},
		{4, plain.Sum(nil)},
	}
	for _, e := range measure.Events("a", in.Conf, "quiet", in.System.Payload, in.System.Keys[0], in.System.Manifest) {
		extensions = append(extensions, extension{e.PCR, hash(e.Data)})
	}
	want := map[int][]byte{}
	for _, e := range extensions {
		if want[e.pcr] == nil {
			want[e.pcr] = make([]byte, 32)
		}
		want[e.pcr] = hash(append(want[e.pcr], e.digest...))
	}
	for pcr, v := range want {
		if got := r.Value(SHA256, pcr); !bytes.Equal(got, v) {
			t.Errorf("PCR %d = %x, want %x", pcr, got, v)
		}
	}
	for _, b := range Banks {
		for _, pcr := range []int{4, 7, 8, 9, 11} {
			if n := len(r.Value(b, pcr)); n != b.Hash().Size() {
				t.Errorf("%s PCR %d has %d bytes", b, pcr, n)
			}
		}
		if len(r.PCRs[b]) != 5 {
			t.Errorf("%s: %d PCRs are predicted, want 5", b, len(r.PCRs[b]))
		}
	}
	if r.ManifestVersion != 7 || r.Profile != "ovmf" || !bytes.Equal(r.ManifestSHA256, hash(in.System.Payload)) {
		t.Errorf("the reference describes something else: %+v", r)
	}
}

// The boot stage's events are predicted as they will stand in the log, slot and all.
func TestBootStageEvents(t *testing.T) {
	in := exampleInput(t)
	in.Conf = manifest.Conf{Slot: "b", Cmdline: "x=1"}.Encode()
	var got []string
	for _, e := range predict(t, in).Events {
		if text, ok := measure.ParseTagged(e.Data); ok {
			got = append(got, text)
		}
	}
	var want []string
	for _, e := range measure.Events("b", in.Conf, "x=1", in.System.Payload, in.System.Keys[0], in.System.Manifest) {
		want = append(want, e.Text())
	}
	if !slices.Equal(got, want) {
		t.Errorf("predicted\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// Whatever changes in the input has to change the PCR that stands for it, and no other.
func TestEveryInputCounts(t *testing.T) {
	s, err := signers()
	if err != nil {
		t.Fatal(err)
	}
	resign := func(t *testing.T, in *Input, change func(*manifest.Manifest)) {
		change(in.System.Manifest)
		in.System.Payload = in.System.Manifest.Encode()
	}
	base := predict(t, exampleInput(t))
	for _, c := range []struct {
		name    string
		change  func(*testing.T, *Input)
		changed []int
	}{
		{"nothing", func(*testing.T, *Input) {}, nil},
		{"boot", func(t *testing.T, in *Input) {
			app := plainPE()
			app[0x300] ^= 1
			in.Boot = signPE(t, app, s[0])
		}, []int{4}},
		{"failed boot option", func(_ *testing.T, in *Input) { in.Profile.FailedBootOptions = 1 }, []int{4}},
		{"PK", func(_ *testing.T, in *Input) { in.Variables.PK = signatureList(certX509, []byte("x")) }, []int{7}},
		{"KEK", func(_ *testing.T, in *Input) { in.Variables.KEK = nil }, []int{7}},
		{"dbx", func(_ *testing.T, in *Input) { in.Variables.Dbx = signatureList(certX509, []byte("x")) }, []int{7}},
		{"another signer beside", func(_ *testing.T, in *Input) {
			in.Variables.Db = append(signatureList(certX509, s[1].cert.Raw), in.Variables.Db...)
		}, []int{7}},
		{"the hash of a file beside", func(_ *testing.T, in *Input) {
			in.Variables.Db = append(signatureList([16]byte{0x26, 0x16, 0xc4, 0xc1}, make([]byte, 32)), in.Variables.Db...)
		}, []int{7}},
		{"signed by another", func(t *testing.T, in *Input) {
			in.Variables.Db = signatureList(certX509, s[1].cert.Raw)
			in.Boot = signPE(t, plainPE(), s[1])
		}, []int{7}},
		{"slot", func(_ *testing.T, in *Input) { in.Conf = manifest.Conf{Slot: "b", Cmdline: "quiet"}.Encode() }, []int{8}},
		{"command line", func(_ *testing.T, in *Input) { in.Conf = manifest.Conf{Slot: "a"}.Encode() }, []int{8}},
		{"signer of the manifest", func(_ *testing.T, in *Input) { in.System.Keys[0][0] ^= 1 }, []int{9}},
		{"manifest version", func(t *testing.T, in *Input) {
			resign(t, in, func(m *manifest.Manifest) { m.Version++ })
		}, []int{9}},
		{"quota of a service", func(t *testing.T, in *Input) {
			resign(t, in, func(m *manifest.Manifest) { m.Services[0].Memory++ })
		}, []int{9}},
		{"kernel", func(t *testing.T, in *Input) {
			resign(t, in, func(m *manifest.Manifest) { m.Kernel.SHA256[0] ^= 1 })
		}, []int{9}},
		{"service", func(t *testing.T, in *Input) {
			resign(t, in, func(m *manifest.Manifest) { m.Services[1].SHA256[0] ^= 1 })
		}, []int{9, 11}},
		{"order of the services", func(t *testing.T, in *Input) {
			resign(t, in, func(m *manifest.Manifest) { m.Services[0], m.Services[1] = m.Services[1], m.Services[0] })
		}, []int{9, 11}},
		{"runtime", func(t *testing.T, in *Input) {
			resign(t, in, func(m *manifest.Manifest) { m.Runtimes[0].SHA256[0] ^= 1 })
		}, []int{9, 11}},
		{"agent", func(t *testing.T, in *Input) {
			resign(t, in, func(m *manifest.Manifest) { m.Agents[0].SHA256[0] ^= 1 })
		}, []int{9, 11}},
		{"what an agent wants", func(t *testing.T, in *Input) {
			resign(t, in, func(m *manifest.Manifest) { m.Agents[0].Caps = []string{"attest"} })
		}, []int{9}},
		{"policy", func(t *testing.T, in *Input) {
			resign(t, in, func(m *manifest.Manifest) { m.Policy.Size++ })
		}, []int{9, 11}},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := exampleInput(t)
			c.change(t, &in)
			got := predict(t, in)
			for _, b := range Banks {
				var changed []int
				for _, pcr := range []int{4, 7, 8, 9, 11} {
					if !bytes.Equal(got.Value(b, pcr), base.Value(b, pcr)) {
						changed = append(changed, pcr)
					}
				}
				if len(changed) != len(c.changed) {
					t.Fatalf("%s: changed PCRs %v, want %v", b, changed, c.changed)
				}
				for i := range changed {
					if changed[i] != c.changed[i] {
						t.Fatalf("%s: changed PCRs %v, want %v", b, changed, c.changed)
					}
				}
			}
		})
	}
}

func TestPredictRefuses(t *testing.T) {
	s, err := signers()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		change func(*Input)
		want   string
	}{
		{"boot is no PE", func(in *Input) { in.Boot = []byte("text") }, "bootx64.efi: not a PE32+ application"},
		{"boot cut off", func(in *Input) { in.Boot = in.Boot[:0x280] }, "bootx64.efi"},
		{"boot unsigned", func(in *Input) { in.Boot = plainPE() }, "sign it with the db key"},
		{"boot signed by a stranger", func(in *Input) { in.Variables.Db = signatureList(certX509, s[1].cert.Raw) }, "sign it with the db key"},
		{"boot changed after signing", func(in *Input) {
			in.Boot = bytes.Clone(in.Boot)
			in.Boot[0x300] ^= 1
		}, "sign it with the db key"},
		{"db empty", func(in *Input) { in.Variables.Db = nil }, "db has 0 entries"},
		{"db cut off", func(in *Input) { in.Variables.Db = in.Variables.Db[:100] }, "db: signature list"},
		{"db is one certificate", func(in *Input) { in.Variables.Db = s[0].cert.Raw }, "db: signature list"},
		{"boot.conf", func(in *Input) { in.Conf = []byte("slot x\n") }, "boot.conf"},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := exampleInput(t)
			c.change(&in)
			if _, err := Predict(in); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("err = %v, want one that contains %q", err, c.want)
			}
		})
	}
}
