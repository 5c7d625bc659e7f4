package main

import (
	"fmt"
	"go/ast"
	"strconv"
	"strings"
)

// eventTables describes every event of a file: each type with a method Name
// that returns a constant text.
func eventTables(root, file string) (string, error) {
	s, err := parse(root, file)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for _, d := range s.file.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok || f.Name.Name != "Name" || f.Recv == nil {
			continue
		}
		typ, ok := f.Recv.List[0].Type.(*ast.Ident)
		if !ok {
			return "", fmt.Errorf("%s: the receiver of a Name method is not a plain type", file)
		}
		name, err := returned(f)
		if err != nil {
			return "", fmt.Errorf("%s: %s.Name: %w", file, typ.Name, err)
		}
		fields, err := s.fields(typ.Name)
		if err != nil {
			return "", err
		}
		_, decl, err := s.structType(typ.Name)
		if err != nil {
			return "", err
		}
		doc := strings.TrimPrefix(comment(decl.Doc), typ.Name+" ")
		fmt.Fprintf(&b, "### `%s`\n\n%s\n\n%s\n", name, strings.ToUpper(doc[:1])+doc[1:], fieldTable(fields))
	}
	return b.String(), nil
}

// returned is the text that a method returns.
func returned(f *ast.FuncDecl) (string, error) {
	if len(f.Body.List) == 1 {
		if r, ok := f.Body.List[0].(*ast.ReturnStmt); ok && len(r.Results) == 1 {
			if l, ok := r.Results[0].(*ast.BasicLit); ok {
				return strconv.Unquote(l.Value)
			}
		}
	}
	return "", fmt.Errorf("expected nothing but the return of a text")
}
