# A Debian image in the form of the NixOS image: sealed again by the repository's
# command, with other directories for units and programs where Debian allows it.
{
  facts,
  runCommand,
  seal,
  debian, # its manifest
}:
runCommand "vmtest-image-standin"
  {
    inherit (facts) image;
    inherit (debian) seal; # another image, another derivation
    manifest = builtins.toJSON {
      name = "${debian.name}-as-nixos";
      inherit (debian)
        arch
        distribution
        packages
        suite
        systemdVersion
        ;
      unitDir = "/run/systemd/system";
      binDir = "/usr/bin";
    };
    nativeBuildInputs = [ seal ];
    passAsFile = [ "manifest" ];
  }
  ''
    mkdir $out
    cp --reflink=auto "$image/vmlinuz" "$image/rootfs.squashfs" $out/
    SOURCE_DATE_EPOCH=1 seal $out "$image/modules" <$manifestPath
  ''
