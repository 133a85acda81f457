package scenarios

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// typed are the verbs of systemctl that a method says: a scenario calls that, waits for the
// job and has its result, without a program in the guest and without text to take apart.
var typed = strings.Fields(`start stop restart reload try-restart kill show status is-active is-failed
	is-enabled enable disable mask unmask reset-failed set-property list-units daemon-reload is-system-running`)

// commands are the scenarios that run one of these verbs all the same, with the reason.
var commands = map[string]string{
	"TestAcceptNoRestart":            "a restart that is not waited for",
	"TestAcceptNoStop":               "the warning of systemctl stop",
	"TestAdvance":                    "a start that is not waited for",
	"TestAgentDies":                  "a command during which the agent dies",
	"TestBinaryAlone":                "a command for the guest of the command line",
	"TestCommandInCleanup":           "a command in a clean-up",
	"TestEchoUnits":                  "an enable without a reload",
	"TestEvidence":                   "a failure that no call has seen",
	"TestShowIsWhatSystemctlPrints":  "what systemctl show prints",
	"TestTypo":                       "what systemctl start prints",
	"TestUnexpectedByOtherNames":     "a unit that no call has named",
	"TestUnexpectedInATemplate":      "a unit that no call has named",
	"TestWaitSettled":                "a start that is not waited for",
	"misbehave":                      "a failure that no call has seen",
	"conformance.TestEnable":         "what systemctl enable prints",
	"conformance.TestEnableTemplate": "what systemctl enable prints",
	"conformance.TestStopWarning":    "what systemctl stop prints",
}

// Scenarios wait for events, and ask systemd by typed calls. They do not sleep or poll, take
// the output of systemctl apart in a shell, or run a verb that a method says.
func TestScenariosUseTypedCalls(t *testing.T) {
	var found []string
	used := make(map[string]bool)
	for _, pattern := range []string{"*_test.go", "conformance/*_test.go"} {
		files, err := filepath.Glob(pattern)
		require.NoError(t, err)
		for _, file := range files {
			if file == "typed_test.go" { // has samples
				continue
			}
			for _, u := range untyped(t, file, nil) {
				if u.verb && commands[u.function] != "" {
					used[u.function] = true
					continue
				}
				found = append(found, u.String())
			}
		}
	}
	assert.Empty(t, strings.Join(found, "\n"))
	for function := range commands {
		assert.True(t, used[function], "%s runs no verb of systemctl any more: remove it from the list", function)
	}
}

// use is something in a scenario that a typed call or a wait would say better.
type use struct {
	position token.Position
	function string // with the package, if that is not scenarios
	verb     bool   // a verb of typed
	what     string
}

func (u use) String() string { return fmt.Sprintf("%s: %s: %s", u.position, u.function, u.what) }

// untyped returns the uses of a file, or of source if that is not nil.
func untyped(t *testing.T, file string, source any) (uses []use) {
	t.Helper()
	files := token.NewFileSet()
	tree, err := parser.ParseFile(files, file, source, 0)
	require.NoError(t, err)
	for _, decl := range tree.Decls {
		f, ok := decl.(*ast.FuncDecl)
		if !ok {
			continue
		}
		name := f.Name.Name
		if tree.Name.Name != "scenarios" {
			name = tree.Name.Name + "." + name
		}
		ast.Inspect(f, func(n ast.Node) bool {
			what, verb := useOf(n)
			if what != "" {
				uses = append(uses, use{files.Position(n.Pos()), name, verb, what})
			}
			return true
		})
	}
	return uses
}

// useOf describes a node that is a use.
func useOf(n ast.Node) (what string, verb bool) {
	var words []string
	switch n := n.(type) {
	case *ast.SelectorExpr:
		if x, ok := n.X.(*ast.Ident); ok && slices.Contains([]string{"time.Sleep", "time.Tick", "time.NewTicker", "assert.Eventually", "require.Eventually",
			"assert.EventuallyWithT", "require.EventuallyWithT"}, x.Name+"."+n.Sel.Name) {
			return x.Name + "." + n.Sel.Name + ": wait for the event (Unit.Wait, WaitProperty, WaitJournal)", false
		}
	case *ast.BasicLit:
		text, _ := strconv.Unquote(n.Value)
		from, _, piped := strings.Cut(strings.ReplaceAll(text, "||", ""), "|")
		for _, program := range []string{"systemctl ", "journalctl ", "busctl "} {
			if n.Kind == token.STRING && piped && strings.Contains(from, program) {
				return fmt.Sprintf("%q takes output apart: use Show, Property, State or Journal", text), false
			}
		}
	case *ast.CallExpr:
		if f, ok := n.Fun.(*ast.Ident); ok && f.Name == "systemctl" {
			words = append(words, "systemctl")
		}
		words = append(words, literals(n.Args)...)
	case *ast.CompositeLit:
		words = literals(n.Elts)
	}
	if i := slices.Index(words, "systemctl"); i >= 0 {
		for _, word := range words[i+1:] {
			if slices.Contains(typed, word) {
				return "systemctl " + word + ": a method of Unit or Guest says that", true
			}
		}
	}
	return "", false
}

// literals returns the strings among expressions.
func literals(list []ast.Expr) (texts []string) {
	for _, e := range list {
		if l, ok := e.(*ast.BasicLit); ok && l.Kind == token.STRING {
			text, _ := strconv.Unquote(l.Value)
			texts = append(texts, text)
		}
	}
	return texts
}

func TestUntyped(t *testing.T) {
	for body, want := range map[string]string{
		`time.Sleep(time.Second)`:                                        "time.Sleep: wait for the event",
		`require.Eventually(t, f, a, b)`:                                 "require.Eventually: wait for the event",
		`g.Run(t, "sh", "-c", "systemctl show a | cut -d= -f2")`:         "takes output apart",
		`g.Run(t, "systemctl", "--now", "enable", "a.socket")`:           "systemctl enable: a method",
		`systemctl(t, g, "start", "a.service")`:                          "systemctl start: a method",
		`g.Exec(t, Command{Args: []string{"systemctl", "stop", "a.b"}})`: "systemctl stop: a method",
		`systemctl(t, g, "daemon-reexec")`:                               "",
		`g.Run(t, "sh", "-c", "systemctl --version || true")`:            "",
	} {
		uses := untyped(t, "a_test.go", "package scenarios\nfunc TestA() { "+body+" }")
		if want == "" {
			assert.Empty(t, uses, body)
		} else if assert.Len(t, uses, 1, body) {
			assert.Contains(t, uses[0].String(), "TestA: ", body)
			assert.Contains(t, uses[0].String(), want, body)
		}
	}
}
