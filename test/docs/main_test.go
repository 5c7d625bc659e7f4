package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// root is the module's folder, from that of this package.
const root = "../.."

func page(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func allPages(t *testing.T) []string {
	t.Helper()
	list, err := pages(root)
	if err != nil || len(list) < 10 {
		t.Fatalf("%d pages, %v", len(list), err)
	}
	return list
}

// What is generated is what the code says now.
func TestFresh(t *testing.T) {
	parts := 0
	for _, name := range allPages(t) {
		text := page(t, name)
		fresh, err := render(root, []byte(text))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !bytes.Equal(fresh, []byte(text)) {
			t.Errorf("%s is stale: go run ./test/docs", name)
		}
		parts += strings.Count(text, beginPrefix)
	}
	if parts < 30 {
		t.Errorf("only %d generated parts", parts)
	}
}

func TestRenderRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"no end":          "<!-- generate calls -->\n",
		"not closed":      "<!-- generate calls\n<!-- /generate -->\n",
		"unknown":         "<!-- generate poem -->\n<!-- /generate -->\n",
		"no such struct":  "<!-- generate struct policy/input.go Nothing -->\n<!-- /generate -->\n",
		"no such file":    "<!-- generate struct policy/none.go Input -->\n<!-- /generate -->\n",
		"no such const":   "<!-- generate consts policy/input.go Nothing -->\n<!-- /generate -->\n",
		"too few words":   "<!-- generate struct policy/input.go -->\n<!-- /generate -->\n",
		"words too many":  "<!-- generate calls now -->\n<!-- /generate -->\n",
		"events of none":  "<!-- generate events host/story/none.go -->\n<!-- /generate -->\n",
		"nothing to make": "<!-- generate  -->\n<!-- /generate -->\n",
	} {
		if out, err := render(root, []byte(text)); err == nil {
			t.Errorf("%s: got %q", name, out)
		}
	}
}

// prose is a page without its fenced blocks, and blocks are those.
func prose(text string) (rest string, blocks []string) {
	parts := strings.Split("\n"+text, "\n```")
	for i, p := range parts {
		if i%2 == 0 {
			rest += p + "\n"
			continue
		}
		_, body, _ := strings.Cut(p, "\n") // after the language
		blocks = append(blocks, body)
	}
	return rest, blocks
}

var (
	linkPattern    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	headingPattern = regexp.MustCompile(`(?m)^#+ +(.*)$`)
	slugDrop       = regexp.MustCompile(`[^\p{L}\p{N}\- _]`)
)

// anchors are the fragments of a page's headings, as GitHub makes them.
func anchors(text string) map[string]bool {
	rest, _ := prose(text)
	out := map[string]bool{}
	for _, m := range headingPattern.FindAllStringSubmatch(rest, -1) {
		out[strings.ReplaceAll(slugDrop.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-")] = true
	}
	return out
}

// Every link leads somewhere: to a file of the tree, and to a heading in it.
func TestLinks(t *testing.T) {
	links := 0
	for _, name := range allPages(t) {
		rest, _ := prose(page(t, name))
		for _, m := range linkPattern.FindAllStringSubmatch(rest, -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			links++
			target, fragment, _ := strings.Cut(m[1], "#")
			file := name
			if target != "" {
				file = filepath.ToSlash(filepath.Join(filepath.Dir(name), target))
			}
			if _, err := os.Stat(filepath.Join(root, file)); err != nil {
				t.Errorf("%s: link to %s: there is no such file", name, m[1])
			} else if fragment != "" && !anchors(page(t, file))[fragment] {
				t.Errorf("%s: link to %s: %s has no such heading", name, m[1], file)
			}
		}
	}
	if links < 30 {
		t.Errorf("only %d links were found", links)
	}
}

var makePattern = regexp.MustCompile("(?m)(?:^|`|\\$ )make ([a-z][a-z-]*)")

// Every target of make that a page names exists.
func TestMakeTargets(t *testing.T) {
	makefile := page(t, "Makefile")
	named := 0
	for _, name := range allPages(t) {
		for _, m := range makePattern.FindAllStringSubmatch(page(t, name), -1) {
			named++
			if !regexp.MustCompile(`(?m)^` + m[1] + `:`).MatchString(makefile) {
				t.Errorf("%s: make %s: the Makefile has no such target", name, m[1])
			}
		}
	}
	if named < 10 {
		t.Errorf("only %d targets were found", named)
	}
}

var (
	codePattern = regexp.MustCompile("`([^`\n]+)`")
	pathPattern = regexp.MustCompile(`^(boot|captoken|cmd|docs|evidence|host|kernel|policy|sdk|services|test|verifier)/[A-Za-z0-9_./-]*$`)
	// What lies in the state folder or in a slot is named like a folder of ours.
	statePattern = regexp.MustCompile(`^(host/(tpm|vars\.fd|console\.log|shape)|verifier/(hosts|results)(/.*)?)$`)
)

// Every file and folder of the tree that a page names is there.
func TestPaths(t *testing.T) {
	named := 0
	for _, name := range allPages(t) {
		rest, _ := prose(page(t, name))
		for _, m := range codePattern.FindAllStringSubmatch(rest, -1) {
			if !pathPattern.MatchString(m[1]) || statePattern.MatchString(m[1]) {
				continue
			}
			named++
			if _, err := os.Stat(filepath.Join(root, m[1])); err != nil {
				t.Errorf("%s: %s is not in the tree", name, m[1])
			}
		}
	}
	if named < 20 {
		t.Errorf("only %d paths were found", named)
	}
}
