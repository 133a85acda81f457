// Package images builds the guest images that tests boot, and keeps them in a cache.
//
// An image is a plain system, without an agent and without anything of a test. [Open]
// returns one from the cache, and builds it first if it is absent or damaged. [Build]
// always builds.
//
//	image, err := images.Open(ctx, images.Spec{Base: images.Default}, images.Options{})
//
// A [Spec] names a base and what is added to it: packages of the distribution, of other
// archives, and of files. Each is an image of its own in the cache.
//
// Open builds Debian: systemd, D-Bus, udev, iproute2, netcat, netbase, kmod and the
// distribution's cloud kernel, or another suite by its [Recipe]. It opens an image that
// another tool has made, such as one of NixOS, by the path of its directory; see [Seal].
//
// [Import] makes an image of the root file system of any other distribution with systemd.
// Directories of units and programs, the version of systemd and the packages are looked
// for in it, and stand in the [Manifest] together with what it lacks.
//
// A build needs mmdebstrap, sqfstar and a mirror, and takes well under a minute on a
// usual line. It works as root or, through user namespaces, as an ordinary user.
// "vmtest setup" installs what the host lacks. An image in the cache needs none of
// these, so everything after the first build works offline.
//
// The environment: VMTEST_CACHE is the absolute path of the cache, VMTEST_MIRROR
// names the package mirror, VMTEST_ALLOW_EXPIRED_RELEASE=1 accepts a mirror whose
// package lists are too old, and SOURCE_DATE_EPOCH sets the newest time stamp inside
// an image.
package images
