package main

import (
	"fmt"
	"runtime/debug"
	"strings"
)

// version returns what this executable was built of: the module's version, its commit if
// that is known, and the version of Go.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "(unknown)"
	}
	return versionOf(info)
}

func versionOf(info *debug.BuildInfo) string {
	settings := make(map[string]string)
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	text := strings.TrimPrefix(info.Main.Version, "v")
	if text == "" {
		text = "(devel)"
	}
	if revision := fmt.Sprintf("%.12s", settings["vcs.revision"]); !strings.Contains(text, revision) {
		text += " (commit " + revision + ")"
	}
	return text + ", " + info.GoVersion + " " + settings["GOOS"] + "/" + settings["GOARCH"]
}
