package manifest

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"aios/captoken/mldsa"
)

func image(file, content string) Image {
	return Image{file, sha256.Sum256([]byte(content)), int64(len(content))}
}

func example() *Manifest {
	return &Manifest{
		Version: 7,
		Kernel:  image("kernel.elf", "the kernel"),
		Policy:  image("policy.tar.gz", "the policy"),
		Services: []Service{
			{"attestd", image("attestd.elf", "the attester"), RestartAlways, 256 << 20, []string{"attest", "channel", "log"}},
			{"probe", image("probe.elf", "a probe"), RestartNever, 1 << 20, nil},
		},
	}
}

const exampleText = `aios-manifest 2
version 7
kernel kernel.elf sha256:7c2f712a5b31004cd31b6fe611e12219b02a73755049a698be58fdfa32a856cf 10
service attestd attestd.elf sha256:d7553bc86855a2950fdfa88692dce55eb94e69180dfc41097d692b38c1aa0235 12 restart=always memory=268435456 caps=attest,channel,log
service probe probe.elf sha256:2f50953c9504b010783ec323b040df8bc99f906689fff4cbfaffb533da63e9ef 7 restart=never memory=1048576 caps=
policy policy.tar.gz sha256:d5d2b0086caa4ae7e729ab3ae542dc0ae24d7000a1bc7ac3b367a5fbc5e4b692 10
`

// full has every kind of line.
func full() *Manifest {
	m := example()
	m.Verifier = &Verifier{"10.0.2.2:8470", 180 * time.Second, bytes.Repeat([]byte("i"), mldsa.PublicKeySize), bytes.Repeat([]byte("s"), mldsa.PublicKeySize)}
	m.Runtimes = []Runtime{{"wasmhost", image("wasmhost.elf", "the runtime")}, {"other", image("other.elf", "another")}}
	m.Agents = []Agent{
		{"hello", image("hello.wasm", "an agent"), "wasmhost", 128 << 20, []string{"attest", "log", "send-echod"}},
		{"idle", image("idle.wasm", "an idle one"), "wasmhost", 1 << 20, nil},
	}
	return m
}

// fullText is the text of full, with I and S for the two keys.
const fullText = `aios-manifest 2
version 7
kernel kernel.elf sha256:7c2f712a5b31004cd31b6fe611e12219b02a73755049a698be58fdfa32a856cf 10
verifier 10.0.2.2:8470 grace=180000 identity=I issuer=S
service attestd attestd.elf sha256:d7553bc86855a2950fdfa88692dce55eb94e69180dfc41097d692b38c1aa0235 12 restart=always memory=268435456 caps=attest,channel,log
service probe probe.elf sha256:2f50953c9504b010783ec323b040df8bc99f906689fff4cbfaffb533da63e9ef 7 restart=never memory=1048576 caps=
runtime wasmhost wasmhost.elf sha256:26fcc3f843e7378b323ac8a3cc9a6c67e478b287ed80cd2370eee32a8b1b8f8b 11
runtime other other.elf sha256:ae448ac86c4e8e4dec645729708ef41873ae79c6dff84eff73360989487f08e5 7
agent hello hello.wasm sha256:647936ec3e40783d8d86fad9d2d8acfac4613dee5c3eb516ef433fed532f8d86 8 runtime=wasmhost memory=134217728 caps=attest,log,send-echod
agent idle idle.wasm sha256:5cb755f9178382f9ea5a7c4277d43e94461e6c1076a72620396fee4b82b80239 11 runtime=wasmhost memory=1048576 caps=
policy policy.tar.gz sha256:d5d2b0086caa4ae7e729ab3ae542dc0ae24d7000a1bc7ac3b367a5fbc5e4b692 10
`

// writeOut puts the keys into fullText: 1952 bytes are 650 groups of three and two bytes.
func writeOut(text string) string {
	text = strings.Replace(text, "identity=I", "identity="+strings.Repeat("aWlp", 650)+"aWk=", 1)
	return strings.Replace(text, "issuer=S", "issuer="+strings.Repeat("c3Nz", 650)+"c3M=", 1)
}

// The text is an interface: boot stages in the field read it. This is the one place
// where it is written out.
func TestEncode(t *testing.T) {
	for _, c := range []struct {
		name string
		m    *Manifest
		text string
	}{{"without agents", example(), exampleText}, {"full", full(), writeOut(fullText)}} {
		t.Run(c.name, func(t *testing.T) { testEncode(t, c.m, c.text) })
	}
}

func testEncode(t *testing.T, m *Manifest, want string) {
	got := string(m.Encode())
	if got != want {
		t.Errorf("Encode =\n%s\nwant\n%s", got, want)
	}
	back, err := Parse([]byte(got))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(back, m) {
		t.Errorf("Parse(Encode) = %+v, want %+v", back, m)
	}
}

// genManifest draws any valid manifest.
func genManifest() *rapid.Generator[*Manifest] {
	name := rapid.StringMatching(`[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?`).Filter(func(s string) bool {
		return s != "kernel" && s != "policy" && s != "manifest"
	})
	file := rapid.StringMatching(`[a-z0-9]([a-z0-9.-]{0,30}[a-z0-9])?`).Filter(func(s string) bool { return s != "manifest" })
	return rapid.Custom(func(t *rapid.T) *Manifest {
		services := rapid.IntRange(0, MaxServices).Draw(t, "services")
		runtimes := rapid.IntRange(0, MaxRuntimes).Draw(t, "runtimes")
		agents := rapid.IntRange(0, MaxAgents).Draw(t, "agents") * min(runtimes, 1)
		n := services + runtimes + agents
		files := rapid.SliceOfNDistinct(file, n+2, n+2, rapid.ID[string]).Draw(t, "files")
		names := rapid.SliceOfNDistinct(name, n, n, rapid.ID[string]).Draw(t, "names")
		image := func() Image {
			i := Image{files[0], [32]byte(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "sum")), rapid.Int64Range(1, MaxImageSize).Draw(t, "size")}
			files = files[1:]
			return i
		}
		next := func() string { n := names[0]; names = names[1:]; return n }
		memory := func() int64 { return rapid.Int64Range(1, MaxMemory).Draw(t, "memory") }
		caps := func() []string {
			caps := rapid.SliceOfNDistinct(name, 0, 5, rapid.ID[string]).Draw(t, "caps")
			if len(caps) == 0 {
				return nil
			}
			slices.Sort(caps)
			return caps
		}
		m := &Manifest{Version: rapid.Uint64Min(1).Draw(t, "version"), Kernel: image(), Policy: image()}
		if rapid.Bool().Draw(t, "verifier") {
			m.Verifier = genVerifier().Draw(t, "verifier")
		}
		for range services {
			restart := rapid.SampledFrom([]Restart{RestartAlways, RestartNever}).Draw(t, "restart")
			m.Services = append(m.Services, Service{next(), image(), restart, memory(), caps()})
		}
		for range runtimes {
			m.Runtimes = append(m.Runtimes, Runtime{next(), image()})
		}
		for range agents {
			m.Agents = append(m.Agents, Agent{next(), image(), rapid.SampledFrom(m.Runtimes).Draw(t, "runtime").Name, memory(), caps()})
		}
		return m
	})
}

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := genManifest().Draw(t, "manifest")
		if err := m.Validate(); err != nil {
			t.Fatal(err)
		}
		back, err := Parse(m.Encode())
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(back, m) {
			t.Fatalf("Parse(Encode) = %+v, want %+v", back, m)
		}
	})
}

func TestParseRefuses(t *testing.T) {
	good := exampleText
	replace := func(old, new string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("the example has no %q", old)
		}
		return strings.Replace(good, old, new, 1)
	}
	lines := strings.SplitAfter(good, "\n")
	for _, c := range []struct {
		name, text string
		want       string // part of the message
	}{
		{"empty", "", "it is empty"},
		{"newline only", "\n", `line 1: expected "aios-manifest 2"`},
		{"other version of the format", replace("manifest 2", "manifest 1"), "line 1"},
		{"carriage return", replace("2\n", "2\r\n"), "line 1"},
		{"no newline at the end", strings.TrimSuffix(good, "\n"), "line 6: ends without a newline"},
		{"header only", lines[0], "line 2: missing"},
		{"no policy", strings.Join(lines[:5], ""), `line 5: expected "policy`},
		{"two policies", good + lines[5], `line 6: expected at most one verifier`},
		{"text after", good + "x\n", `line 6: expected at most one verifier`},
		{"empty line after", good + "\n", `line 6: expected at most one verifier`},
		{"version zero", replace("version 7", "version 0"), "at least 1"},
		{"version with leading zero", replace("version 7", "version 07"), "line 2: not in canonical form"},
		{"version signed", replace("version 7", "version +7"), "line 2"},
		{"version too big", replace("version 7", "version 18446744073709551616"), "line 2: version: expected a number below 2^64"},
		{"version twice", replace("version 7\n", "version 7\nversion 7\n"), "line 3"},
		{"upper case digest", replace("sha256:7c2f", "sha256:7C2F"), "line 3: not in canonical form"},
		{"short digest", replace("sha256:7c2f", "sha256:7c"), "line 3"},
		{"other hash", replace("sha256:7c2f", "sha512:7c2f"), "line 3"},
		{"two spaces", replace("kernel kernel", "kernel  kernel"), "line 3"},
		{"trailing space", replace(" 10\n", " 10 \n"), "line 3"},
		{"size zero", replace(" 10\n", " 0\n"), "size expected 1 to"},
		{"size negative", replace(" 10\n", " -10\n"), "size expected 1 to"},
		{"size with leading zero", replace(" 10\n", " 010\n"), "line 3: not in canonical form"},
		{"size too big", replace(" 10\n", " 1073741825\n"), "size expected 1 to"},
		{"size beyond 64 bits", replace(" 10\n", " 99999999999999999999\n"), "line 3"},
		{"path", replace("kernel.elf", "../kernel"), "file name"},
		{"upper case file", replace("kernel.elf", "Kernel.elf"), "file name"},
		{"dot file", replace("kernel.elf", ".kernel"), "file name"},
		{"file ends with a dot", replace("kernel.elf", "kernel."), "file name"},
		{"file ends with a dash", replace("kernel.elf", "kernel-"), "file name"},
		{"long file", replace("kernel.elf", strings.Repeat("k", 33)), "file name"},
		{"empty file", replace("kernel kernel.elf", "kernel "), "file name"},
		{"the manifest itself", replace("kernel.elf", "manifest"), "already the manifest"},
		{"file used twice", replace("attestd.elf", "kernel.elf"), "already kernel"},
		{"service name twice", replace("service probe", "service attestd"), "already that of service attestd"},
		{"service named policy", replace("service probe", "service policy"), "other than kernel and policy"},
		{"service named kernel", replace("service probe", "service kernel"), "other than kernel and policy"},
		{"service name with a dot", replace("service probe", "service pr.be"), "expected a name"},
		{"service without name", replace("service probe", "service "), "expected a name"},
		{"other restart rule", replace("restart=never", "restart=maybe"), "restart expected"},
		{"no restart rule", replace("restart=never ", ""), "line 5"},
		{"fields in another order", replace("restart=never memory=1048576", "memory=1048576 restart=never"), "line 5"},
		{"memory zero", replace("memory=1048576", "memory=0"), "memory expected"},
		{"memory too big", replace("memory=1048576", "memory=1099511627777"), "memory expected"},
		{"memory in units", replace("memory=1048576", "memory=1M"), "line 5"},
		{"caps not sorted", replace("attest,channel", "channel,attest"), "ascending order"},
		{"cap twice", replace("attest,channel", "attest,attest"), "ascending order"},
		{"too many caps", replace("caps=attest,channel,log", "caps="+manyCaps(MaxCaps+1)), "at most 32 capabilities, found 33"},
		{"empty cap", replace("caps=attest", "caps=,attest"), "capability"},
		{"cap with control character", replace("caps=attest", "caps=att\x1best"), `capability "att\x1best"`},
		{"null byte", replace("version 7", "version 7\x00"), "line 2"},
		{"byte order mark", "\ufeff" + good, "line 1"},
		{"too long", strings.Repeat("x", MaxSize+1), "at most 131072 bytes"},
		{"too many services", manyServices(MaxServices + 1), "services: expected at most 32, found 33"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Parse([]byte(c.text))
			if !errors.Is(err, ErrFormat) {
				t.Fatalf("err = %v, want ErrFormat", err)
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("err = %v, want it to contain %q", err, c.want)
			}
			checkError(t, err)
		})
	}
}

// The largest manifest is accepted, and it fits the bound of the file.
func TestLargest(t *testing.T) {
	text := largest().Encode()
	if len(text) > MaxSize {
		t.Errorf("a manifest can have %d bytes, more than MaxSize", len(text))
	}
	if _, err := Parse(text); err != nil {
		t.Error(err)
	}
}

// largest is a manifest that uses up every bound.
func largest() *Manifest {
	file := func(i int) Image {
		return Image{fmt.Sprintf("%032d", i), [32]byte{}, MaxImageSize}
	}
	caps := strings.Split(manyCaps(MaxCaps), ",")
	key := make([]byte, mldsa.PublicKeySize)
	host := strings.Repeat("a.", 126) + "a" // 253 characters
	m := &Manifest{Version: 1<<64 - 1, Kernel: file(100), Policy: file(101), Verifier: &Verifier{host + ":65535", MaxGrace, key, key}}
	name := func(i int) string { return file(i).File }
	for i := range MaxServices {
		m.Services = append(m.Services, Service{name(i), file(i), RestartAlways, MaxMemory, caps})
	}
	for i := 200; i < 200+MaxRuntimes; i++ {
		m.Runtimes = append(m.Runtimes, Runtime{name(i), file(i)})
	}
	for i := 300; i < 300+MaxAgents; i++ {
		m.Agents = append(m.Agents, Agent{name(i), file(i), m.Runtimes[0].Name, MaxMemory, caps})
	}
	return m
}

func manyCaps(n int) string {
	var caps []string
	for i := range n {
		caps = append(caps, fmt.Sprintf("%032d", i))
	}
	return strings.Join(caps, ",")
}

func manyServices(n int) string {
	m := example()
	m.Services = nil
	for i := range n {
		name := "s" + string(rune('a'+i/26)) + string(rune('a'+i%26))
		m.Services = append(m.Services, Service{name, image(name, "x"), RestartNever, 1, nil})
	}
	return string(m.Encode())
}

// checkError insists that an error can be printed on a console as it is and says what to do.
func checkError(t *testing.T, err error) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("%v is no *Error", err)
	}
	if e.Object == "" || e.Reason == "" || e.Remedy == "" {
		t.Errorf("%#v: a part is missing", e)
	}
	for _, r := range err.Error() {
		if r < ' ' || r > '~' {
			t.Errorf("%q has a character that does not belong on a console", err)
		}
	}
}

// Any text that is not the one of a manifest is refused: cut anywhere, and with any
// single bit changed, either the result is refused or it is a different manifest with
// the changed text as its one text.
func TestDamagedPayload(t *testing.T) {
	good := full().Encode()
	for n := range good {
		if _, err := Parse(good[:n]); !errors.Is(err, ErrFormat) {
			t.Errorf("cut to %d bytes: %v, want ErrFormat", n, err)
		}
	}
	for i := range good {
		for bit := range 8 {
			bad := bytes.Clone(good)
			bad[i] ^= 1 << bit
			m, err := Parse(bad)
			if err != nil {
				checkError(t, err)
				continue
			}
			if !bytes.Equal(m.Encode(), bad) {
				t.Errorf("byte %d bit %d: accepted, but not canonical", i, bit)
			}
		}
	}
}

func TestImageCheck(t *testing.T) {
	i := image("kernel.elf", "content")
	if err := i.Check([]byte("content")); err != nil {
		t.Error(err)
	}
	for _, c := range []struct{ name, data, want string }{
		{"shorter", "conten", "kernel.elf: size expected 7 found 6"},
		{"longer", "contents", "kernel.elf: size expected 7 found 8"},
		{"empty", "", "kernel.elf: size expected 7 found 0"},
		{"changed", "Content", "kernel.elf: sha256 expected ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73 found "},
	} {
		err := i.Check([]byte(c.data))
		if !errors.Is(err, ErrDigest) || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s: %v, want ErrDigest and %q", c.name, err, c.want)
			continue
		}
		checkError(t, err)
	}
}

func TestCheckFloor(t *testing.T) {
	for _, c := range []struct {
		version, floor uint64
		ok             bool
	}{
		{7, 0, true}, {7, 6, true}, {7, 7, true}, {7, 8, false},
		{1, 1<<64 - 1, false}, {1<<64 - 1, 1<<64 - 1, true}, {1 << 63, 1<<63 + 1, false},
	} {
		err := CheckFloor(&Manifest{Version: c.version}, c.floor)
		if c.ok && err != nil || !c.ok && !errors.Is(err, ErrRollback) {
			t.Errorf("version %d, floor %d: %v, want ok %v", c.version, c.floor, err, c.ok)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(example().Encode())
	f.Add(full().Encode())
	f.Add([]byte(manyServices(3)))
	f.Add([]byte(header + "\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := Parse(text)
		if err != nil {
			checkError(t, err)
			return
		}
		if !bytes.Equal(m.Encode(), text) {
			t.Errorf("accepted %q, which re-encodes to %q", text, m.Encode())
		}
	})
}
