package images

// aptInChroot runs the host's apt-get on the guest's tree, as mmdebstrap does.
const aptInChroot = `APT_CONFIG="$MMDEBSTRAP_APT_CONFIG" apt-get -o Dir::Bin::dpkg=env ` +
	`-o DPkg::Options::=--unset=TMPDIR -o DPkg::Options::=dpkg -o DPkg::Chroot-Directory="$1" --yes`

// withoutNewUnits returns a hook that runs a command in the guest's tree $1 and then
// removes the links by which units start at boot that the command made. Packages make
// these by deb-systemd-helper(1p), which systemd's presets do not stop, and
// update-rc.d(8). Afterwards the helper takes the units for disabled by the
// administrator, so that an upgrade does not enable them.
func withoutNewUnits(command string) string {
	return `set -eu
links() {
	(cd "$1" && find etc/systemd/system etc/systemd/user etc/rc?.d -type l 2>/dev/null | LC_ALL=C sort)
}
before=$(links "$1")
` + command + `
links "$1" | while read -r link; do
	case "
$before
" in *"
$link
"*) ;; *) rm "$1/$link" ;; esac
done`
}
