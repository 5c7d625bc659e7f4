package service

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"aios/captoken"
	"aios/captoken/mldsa"
	"aios/verifier/ear"
)

// request makes one, with the bearer token unless header says otherwise.
func (s *site) request(method, path string, in any, header http.Header) *http.Response {
	s.t.Helper()
	var body io.Reader
	if in != nil {
		b, ok := in.([]byte)
		if !ok {
			var err error
			b, err = json.Marshal(in)
			check(s.t, err)
		}
		body = bytes.NewReader(b)
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	s.t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, method, s.api+path, body)
	check(s.t, err)
	r.Header.Set("Authorization", "Bearer "+bearer)
	if in != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	for name, values := range header {
		r.Header[name] = values
	}
	resp, err := http.DefaultClient.Do(r)
	check(s.t, err)
	s.t.Cleanup(func() { resp.Body.Close() })
	return resp
}

func (s *site) ask(method, path string, in, out any) (status int) {
	s.t.Helper()
	resp := s.request(method, path, in, nil)
	b, err := io.ReadAll(resp.Body)
	check(s.t, err)
	if resp.StatusCode >= 400 && resp.Header.Get("Content-Type") != "application/problem+json" {
		s.t.Errorf("%s %s: %s as %q: %s", method, path, resp.Status, resp.Header.Get("Content-Type"), b)
	}
	if out != nil && len(b) > 0 {
		check(s.t, json.Unmarshal(b, out))
	}
	return resp.StatusCode
}

// Every operation of the description but two wants the token.
func TestAPIWantsItsToken(t *testing.T) {
	s := newSite(t)
	description, err := OpenAPI()
	check(t, err)
	var d struct {
		Paths map[string]map[string]any
	}
	check(t, json.Unmarshal(description, &d))
	asked := 0
	paths := map[string][]string{"/metrics": {"get"}, "/nowhere": {"get"}}
	for path, operations := range d.Paths {
		for method := range operations {
			paths[path] = append(paths[path], method)
		}
	}
	for path, methods := range paths {
		for _, method := range methods {
			for _, header := range []string{"", "Bearer ", "Bearer wrong", "Basic " + bearer, bearer, "bearer " + bearer} {
				resp := s.request(strings.ToUpper(method), strings.NewReplacer("{host}", "host-0011223344556677").Replace(path), nil, http.Header{"Authorization": {header}})
				open := path == "/healthz" || path == "/openapi.json"
				if (resp.StatusCode == http.StatusUnauthorized) == open {
					t.Errorf("%s %s with %q: %s", method, path, header, resp.Status)
				}
				if resp.Header.Get("Access-Control-Allow-Origin") != "" {
					t.Error("other sites may ask")
				}
				resp.Body.Close()
				asked++
			}
		}
	}
	if asked < 100 {
		t.Errorf("%d requests", asked)
	}
}

func TestAPIRefuses(t *testing.T) {
	s := newSite(t)
	big := []byte(`{"note": "` + strings.Repeat("x", maxBody) + `"}`)
	for _, c := range []struct {
		name, method, path string
		in                 any
		status             int
		want               string
	}{
		{"unknown host", "GET", "/v1/hosts/host-0011223344556677", nil, 404, "not enrolled"},
		{"no host id", "GET", "/v1/hosts/..%2f..%2fetc", nil, 422, "pattern"},
		{"unknown command", "GET", "/v1/commands/" + strings.Repeat("0", 32), nil, 404, "there is none"},
		{"unknown assignment", "GET", "/v1/assignments/none", nil, 404, "there is none"},
		{"unknown right", "PUT", "/v1/assignments/a", Assignment{Agent: "a", Hosts: []string{"*"}, Rights: []string{"all"}}, 422, "expected one of"},
		{"nowhere", "PUT", "/v1/assignments/a", Assignment{Agent: "a", Rights: []string{"log"}}, 422, "hosts or labels"},
		{"no host id in it", "PUT", "/v1/assignments/a", Assignment{Agent: "a", Hosts: []string{"all"}, Rights: []string{"log"}}, 422, "host id"},
		{"unknown field", "PUT", "/v1/assignments/a", map[string]any{"agent": "a", "hosts": []string{"*"}, "rights": []string{}, "root": true}, 422, "root"},
		{"name of a path", "PUT", "/v1/assignments/..%2fx", Assignment{Agent: "a", Hosts: []string{"*"}, Rights: []string{"log"}}, 422, "pattern"},
		{"depth without holder", "PUT", "/v1/assignments/a", Assignment{Agent: "a", Hosts: []string{"*"}, Rights: []string{"log"}, Depth: 1}, 422, "holder"},
		{"no JSON", "PUT", "/v1/assignments/a", []byte("{"), 400, ""},
		{"too long", "POST", "/v1/enrolment-tokens", big, 413, ""},
		{"too long a life", "POST", "/v1/enrolment-tokens", map[string]any{"seconds": 1 << 40}, 422, "seconds"},
		{"labels of nobody", "PUT", "/v1/hosts/host-0011223344556677/labels", map[string]any{"labels": []string{"a"}}, 404, "not enrolled"},
		{"EK by nothing", "POST", "/v1/eks", map[string]any{}, 422, "one of them"},
		{"EK by nonsense", "POST", "/v1/eks", map[string]any{"certificate": []byte("x")}, 422, ""},
		{"EK by too few digits", "POST", "/v1/eks", map[string]any{"ek_sha256": "ab"}, 422, "64 hex digits"},
		{"a stop that is none", "DELETE", "/v1/stops?agent=a&reason=r", nil, 409, "nothing is stopped"},
		{"without a reason", "DELETE", "/v1/stops?agent=a", nil, 422, "reason"},
		{"unknown parameter", "GET", "/v1/hosts?verbose=1", nil, 422, "verbose"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var p Problem
			if status := s.ask(c.method, c.path, c.in, &p); status != c.status || p.Status != c.status {
				t.Errorf("status %d, want %d: %+v", status, c.status, p)
			}
			if text := fmt.Sprintf("%s %+v", p.Detail, errorsOf(p)); !strings.Contains(text, c.want) {
				t.Errorf("%q does not say %q", text, c.want)
			}
		})
	}
	if got := s.assignments.all(); len(got) != 0 {
		t.Errorf("something was assigned: %v", got)
	}
}

func errorsOf(p Problem) (out []string) {
	for _, e := range p.Errors {
		out = append(out, e.Location+": "+e.Message)
	}
	return out
}

// Everything that can be asked for, once, with a host that is up.
func TestAPI(t *testing.T) {
	s := newSite(t)
	var health Health
	if status := s.ask("GET", "/v1/health", nil, &health); status != 200 || health.Installation != installation {
		t.Errorf("%d %+v", status, health)
	}
	var token EnrolmentToken
	if status := s.ask("POST", "/v1/enrolment-tokens", map[string]any{"note": "rack 4", "seconds": 60}, &token); status != 201 || token.Token == "" || token.State != "usable" {
		t.Errorf("%d %+v", status, token)
	}
	a := Assignment{Agent: "hello", Hosts: []string{"*"}, Rights: []string{"log", "send"}, Scopes: &Scopes{Peers: []string{"b", "a", "b"}, Network: []string{"tcp://example.org:443"},
		Services: map[string][]string{"planner": {"plan"}}}, Quotas: &Quotas{MemoryBytes: 1 << 20}}
	var named NamedAssignment
	if status := s.ask("PUT", "/v1/assignments/hello", a, &named); status != 200 || named.Name != "hello" || named.Quotas.MemoryBytes != 1<<20 {
		t.Errorf("%d %+v", status, named)
	}
	h := s.newHost()
	h.token = []byte(token.Token)
	s.up(h)
	s.awaitKind(0, AgentStarted, h.id)

	var hosts []Host
	if status := s.ask("GET", "/v1/hosts", nil, &hosts); status != 200 || len(hosts) != 1 || hosts[0].ID != h.id || !hosts[0].Connected || hosts[0].Verdict == nil ||
		hosts[0].Verdict.Status != "affirming" || hosts[0].LeaseID == "" || len(hosts[0].Agents) != 1 || hosts[0].Agents[0].State != AgentRunning {
		t.Errorf("%d %+v", status, hosts)
	}
	var host Host
	if status := s.ask("PUT", "/v1/hosts/"+h.id+"/labels", map[string]any{"labels": []string{"b", "a", "b"}}, &host); status != 200 || fmt.Sprint(host.Labels) != "[a b]" {
		t.Errorf("%d %+v", status, host.Labels)
	}
	resp := s.request("GET", "/v1/hosts/"+h.id+"/result", nil, nil)
	b, err := io.ReadAll(resp.Body)
	check(t, err)
	r, err := ear.Verify(strings.TrimSpace(string(b)), resultKey.Public(), ear.Expect{AnyNonce: true, Now: time.Now()})
	if err != nil || r.Status != "affirming" || resp.Header.Get("Content-Type") != "application/eat+jwt" {
		t.Errorf("%v, %v, %q", r, err, resp.Header)
	}
	var agents []Agent
	if status := s.ask("GET", "/v1/agents", nil, &agents); status != 200 || len(agents) != 1 || agents[0].Name != "hello" || agents[0].Host != h.id {
		t.Errorf("%d %+v", status, agents)
	}
	var command Command
	if status := s.ask("POST", "/v1/commands", map[string]any{"command": s.command(captoken.Target{Agent: "hello", Host: h.id})}, &command); status != 202 || len(command.Receipts) != 1 {
		t.Fatalf("%d %+v", status, command)
	}
	if status := s.ask("GET", "/v1/commands/"+command.ID+"?wait=60", nil, &command); status != 200 || !command.Proven() || command.Receipts[0].Encoded == "" {
		t.Errorf("%d %+v", status, command)
	}
	var list []Command
	if status := s.ask("GET", "/v1/commands", nil, &list); status != 200 || len(list) != 1 {
		t.Errorf("%d %+v", status, list)
	}
	var stops []Stop
	if status := s.ask("GET", "/v1/stops", nil, &stops); status != 200 || len(stops) != 1 || stops[0] != (Stop{"hello", h.id}) {
		t.Errorf("%d %+v", status, stops)
	}
	if status := s.ask("DELETE", "/v1/stops?agent=hello&host="+h.id+"&reason=test", nil, nil); status != 204 {
		t.Errorf("lift: %d", status)
	}
	if status := s.ask("DELETE", "/v1/hosts/"+h.id+"?reason=test", nil, nil); status != 409 {
		t.Errorf("forget a host that may run agents: %d", status)
	}
	if status := s.ask("DELETE", "/v1/hosts/"+h.id+"/lease?reason=test", nil, nil); status != 204 {
		t.Errorf("revoke the lease: %d", status)
	}
	var tokens []EnrolmentToken
	if status := s.ask("GET", "/v1/enrolment-tokens", nil, &tokens); status != 200 || len(tokens) != 1 || tokens[0].State != "used" || tokens[0].UsedBy != h.id || tokens[0].Token != "" {
		t.Errorf("%d %+v", status, tokens)
	}
	if status := s.ask("DELETE", "/v1/enrolment-tokens/"+token.ID, nil, nil); status != 204 {
		t.Errorf("revoke a token: %d", status)
	}
	var ek RegisteredEK
	if status := s.ask("POST", "/v1/eks", map[string]any{"certificate": h.tpm.Certificate}, &ek); status != 201 || "host-"+ek.Hash[:16] != h.id {
		t.Errorf("%d %+v", status, ek)
	}
	if status := s.ask("DELETE", "/v1/eks/"+ek.Hash, nil, nil); status != 204 {
		t.Errorf("unregister: %d", status)
	}
	if status := s.ask("DELETE", "/v1/assignments/hello", nil, nil); status != 204 {
		t.Errorf("unassign: %d", status)
	}
	b, err = io.ReadAll(s.request("GET", "/metrics", nil, nil).Body)
	check(t, err)
	for _, want := range []string{"aios_hosts_connected 1", `aios_verdicts_total{status="affirming"}`, `aios_receipts_total{outcome="verified"} 1`, "aios_kill_seconds_count 1", `aios_commands_total{outcome="accepted"} 1`} {
		if !strings.Contains(string(b), want) {
			t.Errorf("metrics have no %s", want)
		}
	}
	if b, err = io.ReadAll(s.request("GET", "/openapi.json", nil, http.Header{"Authorization": {""}}).Body); err != nil || !json.Valid(b) {
		t.Errorf("%v, %.80s", err, b)
	}
}

// frame is one server-sent event.
type frame struct {
	id, event string
	data      Event
}

// follow reads a stream until want is content with an event.
func (s *site) followStream(path string, header http.Header, want func(frame) bool) []frame {
	s.t.Helper()
	resp := s.request("GET", path, nil, header)
	defer resp.Body.Close()
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" {
		s.t.Fatalf("%s %v", resp.Status, resp.Header)
	}
	var out []frame
	var f frame
	r := bufio.NewScanner(resp.Body)
	r.Buffer(nil, 1<<20)
	for r.Scan() {
		line := r.Text()
		switch {
		case strings.HasPrefix(line, "id: "):
			f.id = line[4:]
		case strings.HasPrefix(line, "event: "):
			f.event = line[7:]
		case strings.HasPrefix(line, "data: "):
			check(s.t, json.Unmarshal([]byte(line[6:]), &f.data))
		case line == "":
			if f.event != "heartbeat" {
				out = append(out, f)
				if want(f) {
					return out
				}
			}
			f = frame{}
		}
	}
	s.t.Fatalf("the stream ended: %v", r.Err())
	return nil
}

// A reader that lost its stream goes on where it was, without a gap and without a double.
func TestEventsResume(t *testing.T) {
	s := newSite(t)
	s.assign("hello")
	h := s.enrolled()
	s.up(h)
	s.awaitKind(0, AgentStarted, h.id)
	all := s.followStream("/v1/events?after=0", nil, func(f frame) bool { return f.data.Kind == AgentStarted })
	last := all[2].id
	rest := s.followStream("/v1/events", http.Header{"Last-Event-Id": {last}}, func(f frame) bool { return f.data.Kind == AgentStarted })
	if len(rest) != len(all)-3 || rest[0].id != all[3].id {
		t.Errorf("after %s: %d events, the first %s; of %d", last, len(rest), rest[0].id, len(all))
	}
	for i := 1; i < len(all); i++ {
		if all[i].data.ID <= all[i-1].data.ID || fmt.Sprint(all[i].data.ID) != all[i].id {
			t.Errorf("event %d: %+v after %+v", i, all[i], all[i-1])
		}
	}
	// It goes on with what happens then.
	got := make(chan frame, 1)
	go func() {
		frames := s.followStream("/v1/events?after=-1", nil, func(f frame) bool { return f.data.Kind == Changed })
		got <- frames[len(frames)-1]
	}()
	for { // until the reader is there
		select {
		case f := <-got:
			if f.data.Host != h.id {
				t.Errorf("%+v", f)
			}
			return
		default:
			check(t, s.Label(h.id, []string{"a"}))
		}
	}
}

func TestBus(t *testing.T) {
	b := newBus(time.Now)
	if events, _ := b.after(0); len(events) != 0 {
		t.Fatalf("%v", events)
	}
	_, fresh := b.after(0)
	b.publish(Event{Kind: Changed, Text: "first"})
	select {
	case <-fresh:
	default:
		t.Error("nobody was told")
	}
	first, _ := b.after(0)
	for range keepEvents + 10 {
		b.publish(Event{Kind: Changed})
	}
	all, _ := b.after(0)
	if len(all) > keepEvents || len(all) < keepEvents/2 {
		t.Errorf("%d events are kept", len(all))
	}
	if all[0].Kind == Missed {
		t.Error("who wants what is kept has missed nothing")
	}
	events, _ := b.after(first[0].ID)
	if events[0].Kind != Missed || events[1].ID != events[0].ID+1 || len(events) != len(all)+1 {
		t.Errorf("%+v, %d", events[0], len(events))
	}
	if events, _ := b.after(b.position()); len(events) != 0 {
		t.Errorf("%v", events)
	}
	if events, _ := b.after(b.position() - 1); len(events) != 1 {
		t.Errorf("%v", events)
	}
}

// A write that fails changes nothing, and says so.
func TestDiskThatTakesNothing(t *testing.T) {
	s := newSite(t)
	s.assign("hello")
	h := s.enrolled()
	s.up(h)
	s.awaitKind(0, AgentStarted, h.id)
	check(t, os.Rename(s.config.Dir, s.config.Dir+".away"))
	var p Problem
	if status := s.ask("PUT", "/v1/assignments/other", Assignment{Agent: "other", Hosts: []string{"*"}, Rights: []string{"log"}}, &p); status != 507 || !strings.Contains(p.Detail, s.config.Dir) {
		t.Errorf("%d %+v", status, p)
	}
	if len(s.assignments.all()) != 1 {
		t.Error("it is assigned, and not on the disk")
	}
	if status := s.ask("POST", "/v1/enrolment-tokens", map[string]any{}, &p); status != 507 || len(s.admissions.Tokens()) != 1 {
		t.Errorf("%d %+v", status, p)
	}
	// A kill is in the journal, which is open; that its record cannot be written keeps
	// nobody from being stopped.
	v, err := s.Command(s.command(captoken.Target{Agent: "hello", Host: h.id}))
	check(t, err)
	if v = s.outcome(v.ID); !v.Proven() {
		t.Errorf("%+v", v)
	}
	check(t, os.Rename(s.config.Dir+".away", s.config.Dir))
}

func TestDamagedState(t *testing.T) {
	for _, name := range []string{"labels.json", "assignments.json", "admissions.json", "commands/" + strings.Repeat("a", 32) + ".json"} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.stop()
			check(t, os.WriteFile(s.file(name), []byte("{"), 0o600))
			if again, err := New(s.config); err == nil || !strings.Contains(err.Error(), s.file(name)) {
				t.Errorf("%v, %v", again, err)
			}
		})
	}
	// A journal that is gone is not replaced by one that knows of no revocation.
	s := newSite(t)
	s.stop()
	check(t, os.Remove(s.file("authority", "journal")))
	if _, err := New(s.config); err == nil {
		t.Error("it began anew")
	}
	s.config.NewAuthority = true
	again, err := New(s.config)
	check(t, err)
	check(t, again.Close())
}

func TestNewRefuses(t *testing.T) {
	s := newSite(t)
	for name, change := range map[string]func(*Config){
		"no folder": func(c *Config) { c.Dir = "" }, "no sessions": func(c *Config) { c.Sessions = nil },
		"no identity": func(c *Config) { c.Identity = (*mldsa.PrivateKey)(nil) }, "no token key": func(c *Config) { c.Token = nil }, "no name": func(c *Config) { c.Installation = "" },
	} {
		c := s.config
		change(&c)
		if _, err := New(c); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
