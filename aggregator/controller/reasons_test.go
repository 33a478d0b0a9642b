package controller

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"testing"
)

// Every reason that a decision can have is in the lists that metrics show: read out of where they are declared.
func TestTheListsOfReasonsAreWhole(t *testing.T) {
	declared := map[string][]string{}
	for _, name := range []string{"../scaling/scaling.go", "../scaling/ceiling.go"} {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if spec, ok := n.(*ast.ValueSpec); ok && len(spec.Values) == 1 {
				kind, named := spec.Type.(*ast.Ident)
				value, literal := spec.Values[0].(*ast.BasicLit)
				if named && literal && value.Kind == token.STRING && value.Value != `""` {
					word, err := strconv.Unquote(value.Value)
					if err != nil {
						t.Fatal(err)
					}
					declared[kind.Name] = append(declared[kind.Name], word)
				}
			}
			return true
		})
	}
	for kind, list := range map[string][]string{"Reason": DecisionReasons(), "LimitReason": LimitReasons()} {
		if len(declared[kind]) < 4 {
			t.Fatalf("%d of kind %s are declared: they are not where they were", len(declared[kind]), kind)
		}
		for _, word := range declared[kind] {
			if !slices.Contains(list, word) {
				t.Errorf("%s %s is not in the list", kind, word)
			}
		}
	}
}
