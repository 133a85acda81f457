# The packages of nixpkgs that flake.nix uses.
{
  lib,
  system,
  facts,
}:
let
  bash = "/bin/bash";

  # A package of links to programs of the host.
  fromHost =
    name: programs:
    derivation {
      inherit name system programs;
      builder = bash;
      hostPath = facts.path;
      args = [
        "-euc"
        ''
          PATH=$hostPath
          mkdir -p $out/bin
          for program in $programs; do
            found=$(type -P "$program") || { echo "$name: this host has no $program" >&2; exit 1; }
            ln -s "$found" $out/bin/
          done
        ''
      ];
    };

  # The programs of nixpkgs' stdenv. Other programs of the host are not in PATH, so that
  # a build fails if flake.nix lacks an input.
  base = fromHost "base" (
    [ "bash" "sh" "sed" "awk" "tar" "gzip" "xz" "patch" "make" "find" "xargs" ]
    ++ [ "diff" "cmp" "grep" "egrep" "fgrep" "basename" "cat" "chmod" "cp" "cut" "date" "dd" "dirname" ]
    ++ [ "env" "expr" "false" "head" "id" "install" "ln" "ls" "mkdir" "mkfifo" "mktemp" "mv" "nproc" ]
    ++ [ "od" "paste" "printf" "pwd" "readlink" "realpath" "rm" "rmdir" "seq" "sha256sum" "sleep" "sort" ]
    ++ [ "stat" "sync" "tail" "tee" "test" "timeout" "touch" "tr" "true" "uname" "uniq" "wc" ]
  );

  # The other builders use runCommand, too.
  runCommand =
    name: env: script:
    derivation (
      builtins.removeAttrs env [ "nativeBuildInputs" "passthru" "meta" ]
      // {
        inherit name system script;
        builder = bash;
        PATH = lib.makeBinPath ((env.nativeBuildInputs or [ ]) ++ [ base ]);
        passAsFile = [ "script" ] ++ (env.passAsFile or [ ]);
        args = [
          "-c"
          # HOME is that of Nix's sandbox, which does not exist and cannot be created.
          "set -euo pipefail; export SOURCE_DATE_EPOCH=315532800 HOME=/proc/homeless-shelter; . $scriptPath"
        ];
      }
    )
    // (env.passthru or { });

  writeShellScriptBin =
    name: text:
    runCommand name
      {
        text = ''
          #!${bash}
          ${text}
        '';
        passAsFile = [ "text" ];
      }
      ''
        mkdir -p $out/bin
        cp $textPath $out/bin/${name}
        chmod +x $out/bin/${name}
      '';

  go_1_26 = fromHost "go" [ "go" "gofmt" ];
in
{
  inherit runCommand writeShellScriptBin go_1_26;
  stdenv.hostPlatform = { inherit system; };
  buildGo126Module = import ./go-module.nix { inherit lib facts runCommand go_1_26; };

  e2fsprogs = fromHost "e2fsprogs" [ "mkfs.ext4" ];
  git = fromHost "git" [ "git" ];
  gnumake = fromHost "make" [ "make" ];
  mmdebstrap = fromHost "mmdebstrap" [ "mmdebstrap" ];
  qemu_kvm = fromHost "qemu" [ facts.qemu ];
  squashfsTools = fromHost "squashfs-tools" [ "sqfstar" "mksquashfs" "unsquashfs" ];
  bashInteractive = fromHost "bash-interactive" [ "bash" ]; # for nix develop
  # Debian has no package of nixfmt.
  nixfmt = runCommand "nixfmt" { } "mkdir $out";
  nixfmt-tree = writeShellScriptBin "nixfmt-tree" "echo 'nixfmt is not on this host' >&2; exit 1";

  mkShell =
    { packages }:
    derivation {
      name = "shell";
      inherit system;
      outputs = [ "out" ]; # nix develop looks for this variable
      builder = bash;
      PATH = lib.makeBinPath packages;
      args = [ "-c" "echo > $out" ];
    };
}
