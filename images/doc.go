// Package images makes the guest images that tests boot, and keeps them.
//
// An image is a plain system, with no agent and nothing of a test inside. [Open]
// gives one from the cache and builds it first where it is absent, torn or
// altered; [Build] always builds.
//
//	image, err := images.Open(ctx, images.Default, images.Options{})
//
// What is built here is Debian: systemd, D-Bus, udev, iproute2, netcat, kmod and
// the distribution's cloud kernel. An image that another tool has made, such as
// one of NixOS, is opened by the path of its folder; see [Seal].
//
// A build needs mmdebstrap, sqfstar and a mirror, takes well under a minute on
// a usual line, and works as root or, through user namespaces, as an ordinary
// user; see [Missing] for what the host lacks. A cached image needs none of
// these, so everything after the first build works offline.
//
// The environment: VMTEST_CACHE moves the cache, VMTEST_MIRROR names the
// package mirror, VMTEST_ALLOW_EXPIRED_RELEASE=1 accepts a mirror that lags,
// SOURCE_DATE_EPOCH sets the newest time stamp inside an image.
package images
