package trim

import (
	"fmt"
	"strings"
)

// script returns a generator (systemd.generator(7)) for a guest whose file system begins
// at root. It looks for the inputs of items, and undoes the mask of a generator or a
// dependency that has one: it runs the generator, or adds the dependency. One shell that
// starts no process costs a fraction of what the generators cost. script returns "" if no
// item has inputs.
func script(root string, items []Item) string {
	var b strings.Builder
	for _, item := range items {
		if len(item.Unless) == 0 {
			continue
		}
		var tests []string
		for _, input := range item.Unless {
			tests = append(tests, inputTest(root, input))
		}
		found := strings.Join(tests, " || ")
		switch item.Kind {
		case Generator:
			fmt.Fprintf(&b, "if %s; then run %s \"$@\"; fi\n", found, item.Name)
		case Unit:
			fmt.Fprintf(&b, "if %s; then want \"$2\" %s; fi\n", found, item.Name)
		}
	}
	if b.Len() == 0 {
		return ""
	}
	return strings.ReplaceAll(prelude, "@root@", root) + b.String() + "exit $status\n"
}

// initScripts is the input that exists if a script in /etc/init.d has no unit of its name;
// see systemd-sysv-generator(8).
const initScripts = "init-scripts"

// inputTest returns a shell command that succeeds if the input exists. systemd takes -
// for _ in the names of kernel arguments, and rd. marks what an initrd reads too.
func inputTest(root, input string) string {
	if strings.HasPrefix(input, "/") {
		return "exists " + root + input
	}
	if input == initScripts {
		return "scripts"
	}
	name := strings.ReplaceAll(input, "_", "[-_]")
	return fmt.Sprintf(`case " $arguments" in *[\ \"]%[1]s*|*[\ \"]rd.%[1]s*) true;; *) false;; esac`, name)
}

// prelude defines what the script uses. run takes the first file of a name, as systemd
// does without the mask in /run; a link to /dev/null or an empty file is a mask, too.
// want links a dependency among the units of early priority, which precede /run.
const prelude = `#!/bin/sh
# Written by systemd-vmtest; "vmtest trim" lists what it looks for.
status=0
read -r arguments <@root@/proc/cmdline
exists() {
	for path; do
		if [ -e "$path" ] || [ -L "$path" ]; then return 0; fi
	done
	return 1
}
scripts() {
	for path in @root@/etc/init.d/*; do
		unit=${path##*/}
		unit=${unit%.sh}.service
		if [ -x "$path" ] && ! exists @root@/usr/lib/systemd/system/$unit @root@/lib/systemd/system/$unit \
			@root@/etc/systemd/system/$unit @root@/run/systemd/system/$unit @root@/usr/local/lib/systemd/system/$unit
		then return 0; fi
	done
	return 1
}
run() {
	name=$1
	shift
	for dir in @root@/etc/systemd @root@/usr/local/lib/systemd @root@/usr/lib/systemd @root@/lib/systemd; do
		path=$dir/system-generators/$name
		if exists "$path"; then
			if [ -f "$path" ] && [ -s "$path" ] && [ -x "$path" ]; then "$path" "$@" || status=1; fi
			return
		fi
	done
}
want() {
	mkdir -p "$1/${2%/*}" && ln -s "../${2##*/}" "$1/$2" || status=1
}
`
