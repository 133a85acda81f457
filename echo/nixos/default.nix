# The echo daemon as a NixOS service: socket-activated, with the unit files of
# echo/units, where all directives and their reasons are.
#
#   imports = [ systemd-vmtest.nixosModules.demo-echo ];
#   services.demo-echo.enable = true;
#
# The options of NixOS that are set here are declared in nixpkgs' modules
#   systemd.packages, systemd.sockets   nixos/modules/system/boot/systemd.nix
{ self }:
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.services.demo-echo;

  units = pkgs.runCommand "demo-echo-units" { } ''
    mkdir -p $out/lib/systemd/system
    for unit in ${../units + "/${cfg.variant}"}/*; do
      sed 's,^ExecStart=/usr/local/bin/demo-echo.*,ExecStart=${lib.getExe cfg.package} --drain-timeout=${cfg.drainTimeout},' \
        "$unit" >"$out/lib/systemd/system/''${unit##*/}"
    done
  '';
in
{
  options.services.demo-echo = {
    enable = lib.mkEnableOption "the echo daemon, started by its socket";

    package = lib.mkOption {
      type = lib.types.package;
      default = self.packages.${pkgs.stdenv.hostPlatform.system}.echo;
      defaultText = lib.literalMD "this flake's `echo`";
      description = "The package with the program demo-echo.";
    };

    variant = lib.mkOption {
      type = lib.types.enum [
        "accept-no"
        "accept-yes"
      ];
      default = "accept-no";
      description = ''
        One process for all connections (Accept=no), or one for each (Accept=yes);
        see {manpage}`systemd.socket(5)`.
      '';
    };

    listenStreams = lib.mkOption {
      type = lib.types.listOf lib.types.str;
      default = [ "127.0.0.1:9091" ];
      example = [
        "[::1]:9091"
        "/run/demo-echo.sock"
      ];
      description = ''
        Where to listen, as ListenStream= of {manpage}`systemd.socket(5)`. The protocol
        has no authentication.
      '';
    };

    drainTimeout = lib.mkOption {
      type = lib.types.strMatching "([0-9]+(\\.[0-9]+)?(ms|s|m|h))+";
      default = "5s";
      description = ''
        How long open connections may go on after a stop, as a duration of Go. The
        units give the service 15 s in all to stop.
      '';
    };
  };

  config = lib.mkIf cfg.enable {
    # Units of packages are taken as they are, but for [Install]; what is said of the
    # socket below becomes a drop-in for it.
    systemd.packages = [ units ];
    systemd.sockets.demo-echo = {
      wantedBy = [ "sockets.target" ];
      # An empty one takes away what the unit file lists.
      listenStreams = [ "" ] ++ cfg.listenStreams;
    };
  };
}
