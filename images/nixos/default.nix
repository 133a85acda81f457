# A NixOS guest for the framework. config.system.build.vmtestImage is a directory with
# the kernel, modules, read-only root and manifest. Like the other images it is a
# plain system, without the agent or anything else for tests.
#
#   VMTEST_IMAGE=$(nix build --no-link --print-out-paths .#image-nixos) go test ./scenarios
#
# The framework's own initrd mounts the root under an overlay in RAM and starts
# /sbin/init. In this guest that is NixOS's stage 2, which activates the system and
# executes systemd.
#
# The comment of an option is the path of the module in nixpkgs' nixos/modules that
# declares it.
{
  config,
  lib,
  modulesPath,
  pkgs,
  seal, # this repository's command that writes the manifest
  ...
}:
let
  units = "/run/systemd/system"; # /etc/systemd/system is a link into the read-only store
  programs = "/run/current-system/sw/bin";

  arch =
    {
      x86_64-linux = "amd64";
      aarch64-linux = "arm64";
    }
    .${pkgs.stdenv.hostPlatform.system};

  # The fields of images.Manifest that are known here. seal adds the others.
  manifest = {
    name = "nixos";
    distribution = "NixOS ${config.system.nixos.release}"; # misc/version.nix
    suite = config.system.nixos.release;
    inherit arch;
    systemdVersion = config.systemd.package.version;
    packages = map (package: {
      name = lib.getName package;
      version = lib.getVersion package;
      inherit arch;
    }) (config.environment.systemPackages ++ [ config.systemd.package ]);
    unitDir = units;
    binDir = programs;
  };

  # nixos/lib/make-squashfs.nix: the closure of the system, and the files that a root
  # needs before the system is activated.
  root = pkgs.callPackage (modulesPath + "/../lib/make-squashfs.nix") {
    fileName = "vmtest-root";
    storeContents = [ config.system.build.toplevel ];
    noStrip = true; # keep the paths /nix/store/..., because this is the whole root
    comp = null; # guests share its pages, and decompression is slow under emulation
    pseudoFiles = [
      "/dev d 0755 0 0"
      "/etc d 0755 0 0" # the initrd writes machine-id
      "/lib d 0755 0 0"
      "/lib/modules s 0555 0 0 ${config.system.modulesTree}/lib/modules" # for the initrd
      "/proc d 0555 0 0"
      "/run d 0755 0 0"
      "/sbin d 0755 0 0"
      "/sbin/init s 0555 0 0 ${config.system.build.toplevel}/init"
      "/sys d 0555 0 0"
      "/tmp d 1777 0 0"
      "/usr d 0755 0 0"
      "/usr/local d 0755 0 0" # where tests install programs
      "/usr/local/bin d 0755 0 0"
      "/var d 0755 0 0"
    ];
  };
in
{
  # No documentation, no default packages, no services of a desktop.
  imports = [ (modulesPath + "/profiles/minimal.nix") ];

  # The framework provides the initrd, so /init is stage 2.
  boot.initrd.enable = false; # system/boot/stage-1.nix
  boot.loader.grub.enable = false; # system/boot/loader/grub/grub.nix
  # For programs that read /etc/fstab. The root is mounted before systemd starts.
  fileSystems."/" = {
    device = "overlay";
    fsType = "overlay";
  }; # tasks/filesystems.nix

  # Programs for tests, as in the other images.
  environment.systemPackages = [
    # config/system-path.nix
    pkgs.iproute2
    pkgs.netcat-openbsd
  ];

  # Services that do nothing in a machine without network, disk and seat. Debian's
  # images lack them, too, or the framework masks them (trim.txt).
  networking.firewall.enable = false; # services/networking/firewall.nix
  networking.useDHCP = false; # tasks/network-interfaces.nix
  nix.enable = false; # services/system/nix-daemon.nix
  services.timesyncd.enable = false; # system/boot/timesyncd.nix; the host sets the clock
  systemd.oomd.enable = false; # system/boot/systemd/oomd.nix
  systemd.services."getty@tty1".enable = false; # services/ttys/getty.nix; no screen
  systemd.services."serial-getty@ttyS0".enable = false; # likewise; the console is the kernel's

  system.stateVersion = "26.05"; # misc/version.nix

  # system/build.nix
  system.build.vmtestImage =
    pkgs.runCommand "vmtest-image-nixos-${config.system.nixos.release}"
      {
        manifest = builtins.toJSON manifest;
        passAsFile = [ "manifest" ];
        nativeBuildInputs = [ seal ];
      }
      ''
        mkdir $out
        cp ${config.system.build.kernel}/${config.system.boot.loader.kernelFile} $out/vmlinuz
        cp ${root} $out/rootfs.squashfs
        SOURCE_DATE_EPOCH=1 seal $out ${config.system.modulesTree} <$manifestPath
      '';
}
