# The echo daemon as a socket-activated NixOS service, with the unit files of
# echo/units, which explain their directives.
#
#   imports = [ systemd-vmtest.nixosModules.demo-echo ];
#   services.demo-echo.enable = true;
#
# nixpkgs declares systemd.packages and systemd.sockets in
# nixos/modules/system/boot/systemd.nix.
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
      description = "The package that contains demo-echo.";
    };

    variant = lib.mkOption {
      type = lib.types.enum [
        "accept-no"
        "accept-yes"
      ];
      default = "accept-no";
      description = ''
        Whether one process serves all connections (Accept=no) or each connection
        gets its own process (Accept=yes); see {manpage}`systemd.socket(5)`.
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
        Addresses to listen on, as for ListenStream= in {manpage}`systemd.socket(5)`.
        The protocol has no authentication.
      '';
    };

    drainTimeout = lib.mkOption {
      type = lib.types.strMatching "([0-9]+(\\.[0-9]+)?(ms|s|m|h))+";
      default = "5s";
      description = ''
        How long open connections may go on after a stop, in the format of Go's
        time.ParseDuration. TimeoutStopSec= of the units is 15 s.
      '';
    };
  };

  config = lib.mkIf cfg.enable {
    # NixOS uses the units of packages unchanged, except that it ignores [Install].
    # The settings of the socket below become a drop-in.
    systemd.packages = [ units ];
    systemd.sockets.demo-echo = {
      wantedBy = [ "sockets.target" ];
      # The empty string clears the list of the unit file.
      listenStreams = [ "" ] ++ cfg.listenStreams;
    };
  };
}
