package main

import (
	"fmt"
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"go/types"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// source is one parsed Go file.
type source struct {
	name string
	fset *token.FileSet
	file *ast.File
}

func parse(root, name string) (*source, error) {
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, filepath.Join(root, name), nil, parser.ParseComments)
	if err != nil {
		return nil, err
	}
	return &source{name, fset, f}, nil
}

// comment is the text of a comment on one line.
func comment(groups ...*ast.CommentGroup) string {
	var text []string
	for _, g := range groups {
		text = append(text, strings.Fields(g.Text())...)
	}
	return strings.Join(text, " ")
}

// field is one field of a structure: the name in its tag, its Go type, and what
// the code says of it.
type field struct {
	name, typ, comment string
	optional           bool
}

// structType finds a type declaration.
func (s *source) structType(name string) (*ast.StructType, *ast.GenDecl, error) {
	for _, d := range s.file.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok {
			continue
		}
		for _, spec := range g.Specs {
			if t, ok := spec.(*ast.TypeSpec); ok && t.Name.Name == name {
				if st, ok := t.Type.(*ast.StructType); ok {
					return st, g, nil
				}
			}
		}
	}
	return nil, nil, fmt.Errorf("%s: no structure %s", s.name, name)
}

// fields lists the fields of a structure, those that its encoding leaves out
// excepted.
func (s *source) fields(name string) ([]field, error) {
	st, _, err := s.structType(name)
	if err != nil {
		return nil, err
	}
	var out []field
	for _, f := range st.Fields.List {
		for _, id := range f.Names {
			e := field{name: id.Name, typ: types.ExprString(f.Type), comment: comment(f.Doc, f.Comment)}
			if f.Tag != nil {
				raw, err := strconv.Unquote(f.Tag.Value)
				if err != nil {
					return nil, err
				}
				for _, key := range []string{"json", "cbor"} {
					tag, ok := reflect.StructTag(raw).Lookup(key)
					if !ok {
						continue
					}
					parts := strings.Split(tag, ",")
					e.optional = slices.Contains(parts, "omitempty")
					if key == "cbor" {
						e.name = parts[0] + " " + id.Name
					} else {
						e.name = parts[0]
					}
				}
			}
			if e.name != "-" {
				out = append(out, e)
			}
		}
	}
	return out, nil
}

// structTable is a structure as its encoding shows it: JSON names or CBOR keys.
func structTable(root, file, name string) (string, error) {
	s, err := parse(root, file)
	if err != nil {
		return "", err
	}
	fields, err := s.fields(name)
	if err != nil {
		return "", err
	}
	return fieldTable(fields), nil
}

func fieldTable(fields []field) string {
	var rows [][]string
	for _, f := range fields {
		note := f.comment
		if f.optional {
			note = strings.TrimSuffix("absent when empty; "+note, "; ")
		}
		key, id, cbor := strings.Cut(f.name, " ")
		row := []string{"`" + f.name + "`", kind(f.typ), note}
		if cbor {
			row = []string{key, id, kind(f.typ), note}
		}
		rows = append(rows, row)
	}
	head := []string{"name", "type", "meaning"}
	if len(rows) > 0 && len(rows[0]) == 4 {
		head = []string{"key", "name", "type", "meaning"}
	}
	return table(head, rows)
}

// kind says a Go type in the words of the encoding.
func kind(t string) string {
	if k, ok := map[string]string{
		"uint64": "unsigned", "uint32": "unsigned", "int": "integer", "int8": "integer", "bool": "true or false", "string": "text", "[]byte": "bytes",
		"[][]byte": "array of bytes", "[]string": "array of texts", "Milliseconds": "milliseconds, whole", "time.Time": "time (RFC 3339)",
		"PCRs": "PCR values: bank, index, hex", "Hex": "lower-case hex", "map[string]string": "map of texts", "map[string]any": "map",
		"map[string]Milliseconds": "map of milliseconds", "Digests": "map: bank, lower-case hex",
	}[t]; ok {
		return k
	}
	if e, ok := strings.CutPrefix(t, "map[string]"); ok {
		return "map of " + e
	}
	if e, ok := strings.CutPrefix(t, "[]"); ok {
		return "array of " + e
	}
	return strings.TrimPrefix(t, "*")
}

// valueSpecs are the file's constants and variables.
func valueSpecs(f *ast.File) (out []*ast.ValueSpec) {
	for _, d := range f.Decls {
		if g, ok := d.(*ast.GenDecl); ok {
			for _, spec := range g.Specs {
				if v, ok := spec.(*ast.ValueSpec); ok {
					out = append(out, v)
				}
			}
		}
	}
	return out
}

// value evaluates a constant expression that names no other constant.
func (s *source) value(e ast.Expr) (string, error) {
	text := types.ExprString(e)
	tv, err := types.Eval(s.fset, nil, token.NoPos, text)
	if err != nil || tv.Value == nil {
		return text, nil // an expression of other constants: shown as it is
	}
	if tv.Value.Kind() == constant.String {
		return constant.StringVal(tv.Value), nil
	}
	return tv.Value.ExactString(), nil
}

// constTable lists constants with their values.
func constTable(root, file string, names []string) (string, error) {
	s, err := parse(root, file)
	if err != nil {
		return "", err
	}
	var rows [][]string
	for _, name := range names {
		row, err := s.constant(name)
		if err != nil {
			return "", err
		}
		rows = append(rows, row)
	}
	return table([]string{"constant", "value", "meaning"}, rows), nil
}

func (s *source) constant(name string) ([]string, error) {
	for _, spec := range valueSpecs(s.file) {
		for i, id := range spec.Names {
			if id.Name != name {
				continue
			}
			if i >= len(spec.Values) {
				return nil, fmt.Errorf("%s: %s has no value of its own", s.name, name)
			}
			v, err := s.value(spec.Values[i])
			if err != nil {
				return nil, err
			}
			text := size(v)
			if l, ok := spec.Values[i].(*ast.BasicLit); ok && strings.HasPrefix(l.Value, "0x") { // an address
				text = strings.ReplaceAll(l.Value, "_", "")
			}
			note := comment(spec.Doc, spec.Comment)
			if note == "" {
				note = comment(s.alone(spec))
			}
			return []string{"`" + name + "`", "`" + text + "`", note}, nil
		}
	}
	return nil, fmt.Errorf("%s: no constant %s", s.name, name)
}

// alone is the comment above a declaration that declares nothing else.
func (s *source) alone(spec ast.Spec) *ast.CommentGroup {
	for _, d := range s.file.Decls {
		if g, ok := d.(*ast.GenDecl); ok && len(g.Specs) == 1 && g.Specs[0] == spec {
			return g.Doc
		}
	}
	return nil
}

// size writes large round numbers of bytes as people say them.
func size(v string) string {
	n, err := strconv.ParseUint(v, 10, 64)
	if err != nil || n < 1<<10 || n%(1<<10) != 0 {
		return v
	}
	for _, unit := range []string{"Ki", "Mi", "Gi", "Ti"} {
		n >>= 10
		if n%(1<<10) != 0 || n < 1<<10 {
			return fmt.Sprintf("%s = %d %s", v, n, unit)
		}
	}
	return v
}
