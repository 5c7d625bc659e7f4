// Command tcb counts the trusted code base from what is really linked: the
// packages with at least one function in an image, ours and third-party,
// and their lines of code. The Go runtime and standard library are listed as
// one, since they come with the compiler that is trusted anyway.
//
//	go run ./test/tcb aios/boot/cmd/bootx64=bootx64.elf aios/services/attestd=attestd.elf
//
// A line of code is one that is neither blank nor only a comment, in the files
// that the build selects for the target (Go and assembly, no tests). A package
// counts as a whole when one function of it is linked: what is trusted is less.
package main

import (
	"bufio"
	"bytes"
	"cmp"
	"debug/gosym"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

func main() {
	tags := flag.String("tags", "aios,linkramstart,linkcpuinit", "build tags of the images")
	overlay := flag.String("overlay", "", "overlay of the build")
	flag.Parse()
	if flag.NArg() == 0 {
		fmt.Fprintln(os.Stderr, "usage: tcb [-tags T] [-overlay FILE] package=image.elf ...")
		os.Exit(2)
	}
	var total count
	for _, arg := range flag.Args() {
		name, file, _ := strings.Cut(arg, "=")
		if err := report(os.Stdout, &total, name, file, *tags, *overlay); err != nil {
			fmt.Fprintln(os.Stderr, "tcb:", err)
			os.Exit(1)
		}
	}
	fmt.Printf("all images, each package once: %v\n", total)
}

// pkg is what `go list` says about a package.
type pkg struct {
	ImportPath, Dir string
	Standard        bool
	Module          *struct{ Path, Version string }
	GoFiles, SFiles []string
	HFiles          []string
}

// row is one line of the report.
type row struct {
	name      string
	ours      bool
	functions int
	lines     int
}

// report counts the image that was built of the package called name, and adds
// what is new to total.
func report(w io.Writer, total *count, name, file, tags, overlay string) error {
	linked, err := functions(file)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	linked[name] = linked["main"] // the program itself
	delete(linked, "main")
	paths := slices.Sorted(maps.Keys(linked))
	pkgs, err := list(paths, tags, overlay)
	if err != nil {
		return err
	}
	var rows []row
	standard := row{name: "Go runtime and standard library"}
	for _, p := range pkgs {
		if p.Standard {
			standard.functions += linked[p.ImportPath]
			continue
		}
		r := row{name: p.ImportPath, ours: p.Module != nil && p.Module.Path == "aios", functions: linked[p.ImportPath]}
		if !r.ours && p.Module != nil {
			r.name += " " + p.Module.Version
		}
		for _, f := range slices.Concat(p.GoFiles, p.SFiles, p.HFiles) {
			text, err := os.ReadFile(filepath.Join(p.Dir, f))
			if err != nil {
				return err
			}
			r.lines += codeLines(text)
		}
		rows = append(rows, r)
	}
	slices.SortFunc(rows, func(a, b row) int {
		if a.ours != b.ours {
			if a.ours {
				return -1
			}
			return 1
		}
		return cmp.Compare(a.name, b.name)
	})
	fmt.Fprintf(w, "%s (%s)\n", name, filepath.Base(file))
	wide := len(standard.name)
	for _, r := range rows {
		wide = max(wide, len(r.name))
	}
	var c count
	for _, r := range rows {
		kind := "third-party"
		if r.ours {
			kind = "ours"
		}
		c.add(r)
		total.once(r)
		fmt.Fprintf(w, "  %-11s  %-*s  %6d lines  %5d functions\n", kind, wide, r.name, r.lines, r.functions)
	}
	fmt.Fprintf(w, "  %-11s  %-*s  %6s        %5d functions\n", "toolchain", wide, standard.name, "", standard.functions)
	fmt.Fprintf(w, "  %s: %v\n\n", name, c)
	return nil
}

// count adds rows up.
type count struct {
	ours, third, packages int
	seen                  map[string]bool // by once
}

func (c count) String() string {
	return fmt.Sprintf("ours %d lines; third-party %d lines in %d packages", c.ours, c.third, c.packages)
}

func (c *count) add(r row) {
	if r.ours {
		c.ours += r.lines
		return
	}
	c.third += r.lines
	c.packages++
}

// once adds a package that may be in several images the first time only.
func (c *count) once(r row) {
	if c.seen == nil {
		c.seen = map[string]bool{}
	}
	if !c.seen[r.name] {
		c.seen[r.name] = true
		c.add(r)
	}
}

// tableMagic opens the table that panics are traced with, which is there even
// in a stripped image: Go's version of the format, then instruction and pointer
// size (runtime/symtab.go, pcHeader).
var tableMagic = []byte{0xf1, 0xff, 0xff, 0xff, 0, 0, 1, 8}

// functions counts the functions that are linked into an image, by package. It
// finds the table by its magic, so that the boot stage's PE image will do as
// well as an ELF one.
func functions(file string) (map[string]int, error) {
	image, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	count := map[string]int{}
	for at := 0; len(count) == 0; at++ {
		i := bytes.Index(image[at:], tableMagic)
		if i < 0 {
			return nil, fmt.Errorf("no function table: not an image that Go linked")
		}
		at += i
		table, err := gosym.NewTable(nil, gosym.NewLineTable(image[at:], 0))
		if err != nil {
			continue // the magic as a constant in some program's data
		}
		for _, fn := range table.Funcs {
			if p := packageOf(fn.Name); p != "" {
				count[p]++
			}
		}
	}
	return count, nil
}

// packageOf is the import path in a linker symbol: "github.com/a/b%2ev2.(*T).M"
// is of "github.com/a/b.v2".
func packageOf(symbol string) string {
	if strings.HasPrefix(symbol, "go:") || strings.HasPrefix(symbol, "type:") {
		return ""
	}
	if i := strings.IndexByte(symbol, '['); i >= 0 { // type arguments may hold anything
		symbol = symbol[:i]
	}
	slash := strings.LastIndexByte(symbol, '/') + 1
	dot := strings.IndexByte(symbol[slash:], '.')
	if dot < 0 {
		return ""
	}
	p := symbol[:slash+dot]
	for _, esc := range []struct{ from, to string }{{"%2e", "."}, {"%2d", "-"}, {"%22", `"`}, {"%25", "%"}} {
		p = strings.ReplaceAll(p, esc.from, esc.to)
	}
	return p
}

// list asks the go command about packages.
func list(paths []string, tags, overlay string) ([]pkg, error) {
	args := []string{"list", "-e", "-json=ImportPath,Dir,Standard,Module,GoFiles,SFiles,HFiles", "-tags", tags}
	if overlay != "" {
		args = append(args, "-overlay", overlay)
	}
	c := exec.Command("go", append(append(args, "--"), paths...)...)
	c.Env = append(os.Environ(), "GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0")
	var stderr bytes.Buffer
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w: %s", err, stderr.String())
	}
	var pkgs []pkg
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := dec.Decode(&p); err == io.EOF {
			return pkgs, nil
		} else if err != nil {
			return nil, err
		}
		if p.Dir == "" {
			p.Standard = true // of the overlay, or made by the linker
		}
		pkgs = append(pkgs, p)
	}
}

// codeLines counts lines that are neither blank nor only comment.
func codeLines(text []byte) int {
	n, inBlock := 0, false
	for s := bufio.NewScanner(bytes.NewReader(text)); s.Scan(); {
		l := strings.TrimSpace(s.Text())
		if inBlock {
			_, after, ended := strings.Cut(l, "*/")
			if !ended {
				continue
			}
			inBlock, l = false, strings.TrimSpace(after)
		}
		if l == "" || strings.HasPrefix(l, "//") {
			continue
		}
		if strings.HasPrefix(l, "/*") {
			_, after, ended := strings.Cut(l, "*/")
			inBlock = !ended
			if strings.TrimSpace(after) == "" {
				continue
			}
		}
		n++
	}
	return n
}
