# A Debian image as the NixOS one would come: sealed anew by the repository's command,
# and with units and programs elsewhere than they usually are, as far as Debian can.
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
