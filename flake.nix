# The tests of "make test" as Nix checks, which remote builders can share. There is
# one check per file of scenarios/ and guest image.
#
#   nix flake check -L                          # everything
#   nix build -L .#checks.x86_64-linux.guide-nixos
#   nix run .#demo                              # the how-to, on a NixOS guest
#   nix develop -c make demo                    # the how-to, on Debian
#
# lib.mkCheck tests the units of another flake. Its Go module contains a package of
# scenarios:
#
#   checks.x86_64-linux.units = systemd-vmtest.lib.mkCheck {
#     pkgs = nixpkgs.legacyPackages.x86_64-linux;
#     src = ./.;
#     vendorHash = "sha256-etxNjxTdEhlqz87FliV5A56SxFoH5cQ5t7T69qBJPNE=";
#   };
{
  description = "go test for systemd units, on a real systemd, in a QEMU VM";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-26.05";

  outputs =
    { self, nixpkgs }:
    let
      inherit (nixpkgs) lib;

      eachSystem =
        f:
        lib.genAttrs [ "x86_64-linux" "aarch64-linux" ] (
          system: f system nixpkgs.legacyPackages.${system}
        );

      # After a change of go.mod the build fails and prints the new hash.
      vendorHash = "sha256-etxNjxTdEhlqz87FliV5A56SxFoH5cQ5t7T69qBJPNE=";

      # The Go module with only some of its directories, so that a change in the
      # others rebuilds nothing.
      sourceOf =
        directories:
        builtins.path {
          name = "systemd-vmtest-source";
          path = ./.;
          filter =
            path: _:
            let
              rel = lib.removePrefix (toString ./. + "/") path;
            in
            builtins.match "(go\\.(mod|sum)|(${lib.concatStringsSep "|" directories})(/.*)?)" rel != null
            && builtins.match ".*\\.(nix|md)|images/nixos/testdata(/.*)?" rel == null;
        };
      source = sourceOf [
        "echo"
        "images"
        "internal"
        "scenarios"
        "vmtest"
      ];

      # A build of the Go module. All builds share the download of its dependencies.
      goBuild =
        pkgs: args:
        pkgs.buildGo126Module (
          {
            version = "0";
            src = source;
            inherit vendorHash;
            overrideModAttrs = _: {
              name = "systemd-vmtest-go-modules";
              src = source;
            };
            env.CGO_ENABLED = "0"; # guests need static programs
            doCheck = false; # see checks
          }
          // args
        );

      buildCommand =
        pkgs: src: name: directory:
        goBuild pkgs {
          inherit src;
          pname = name;
          subPackages = [ directory ];
          ldflags = [
            "-s"
            "-w"
          ];
          meta.mainProgram = baseNameOf directory;
        };

      checking = import ./images/nixos/check.nix { inherit self; };

      # The groups of scenarios: the names of the test files, with their test functions.
      groups =
        let
          testsOf =
            file:
            map builtins.head (
              builtins.filter builtins.isList (
                builtins.split "\nfunc (Test[A-Za-z0-9_]+)\\([a-z]+ \\*testing\\.T\\)" (
                  builtins.readFile (./scenarios + "/${file}")
                )
              )
            );
          files = builtins.filter (file: lib.hasSuffix "_test.go" file && testsOf file != [ ]) (
            builtins.attrNames (builtins.readDir ./scenarios)
          );
        in
        lib.genAttrs (map (lib.removeSuffix "_test.go") files) (group: testsOf "${group}_test.go");
    in
    {
      lib = { inherit (checking) mkCheck; };

      nixosModules.demo-echo = import ./echo/nixos { inherit self; };

      packages = eachSystem (system: pkgs: {
        default = self.packages.${system}.vmtest;
        vmtest = buildCommand pkgs source "vmtest" "vmtest/cmd/vmtest";
        agent = buildCommand pkgs source "vmtest-agent" "vmtest/cmd/agent";
        echo = buildCommand pkgs source "demo-echo" "echo/cmd/demo-echo";
        seal =
          buildCommand pkgs (sourceOf [ "images" "internal" ]) "vmtest-seal"
            "images/nixos/seal";
        image-nixos =
          (lib.nixosSystem {
            inherit system;
            specialArgs.seal = self.packages.${system}.seal;
            modules = [ ./images/nixos ];
          }).config.system.build.vmtestImage;
      });

      apps = eachSystem (
        system: pkgs:
        let
          packages = self.packages.${system};
          # vmtest for a host without the go command and mmdebstrap.
          vmtest = pkgs.writeShellScriptBin "vmtest" ''
            export PATH=${lib.makeBinPath [ pkgs.qemu_kvm ]}:$PATH
            export VMTEST_AGENT=''${VMTEST_AGENT:-${packages.agent}/bin/agent}
            export VMTEST_IMAGE=''${VMTEST_IMAGE:-${packages.image-nixos}}
            exec ${packages.vmtest}/bin/vmtest "$@"
          '';
          app = program: {
            type = "app";
            inherit program;
          };
        in
        {
          default = app "${vmtest}/bin/vmtest";
          demo = app "${
            pkgs.writeShellScriptBin "demo" ''
              exec ${vmtest}/bin/vmtest demo --units ${./scenarios/testdata/guide} "$@"
            ''
          }/bin/demo";
        }
      );

      # What "make demo", "make test" and "make lint" need.
      devShells = eachSystem (_: pkgs: {
        default = pkgs.mkShell {
          packages = [
            pkgs.e2fsprogs
            pkgs.git
            pkgs.gnumake
            pkgs.go_1_26
            pkgs.mmdebstrap
            pkgs.nixfmt
            pkgs.qemu_kvm
            pkgs.squashfsTools
          ];
        };
      });

      checks = eachSystem (
        system: pkgs:
        let
          images = {
            nixos = self.packages.${system}.image-nixos;
          };
          tests = checking.tests {
            inherit pkgs vendorHash;
            src = source;
            commands = [
              "echo/cmd/demo-echo"
              "echo/cmd/echo-client"
            ];
          };
          scenario =
            imageName: group: functions:
            lib.nameValuePair "${group}-${imageName}" (
              checking.run {
                inherit pkgs tests;
                name = "${group}-${imageName}";
                image = images.${imageName};
                run = "^(${lib.concatStringsSep "|" functions})$";
              }
            );
          # A check that runs a Go command on the whole module.
          goCheck =
            name: inputs: script:
            goBuild pkgs {
              pname = name;
              nativeBuildInputs = inputs;
              buildPhase = script;
              installPhase = "touch $out";
            };
        in
        {
          lint = goCheck "lint" [ ] ''
            unformatted=$(gofmt -l echo images internal scenarios vmtest)
            if [ -n "$unformatted" ]; then
              echo "gofmt would change:" $unformatted >&2
              exit 1
            fi
            go vet ./...
            export XDG_CACHE_HOME=$TMPDIR
            go tool staticcheck ./...
          '';
          unit = goCheck "unit" [ pkgs.e2fsprogs pkgs.qemu_kvm pkgs.squashfsTools ] ''
            export HOME=$TMPDIR VMTEST_CACHE=$TMPDIR/vmtest
            # These set the setuid bit, which Nix forbids in builds.
            go test -short -count=1 -skip '^(TestCopyInFile|TestCopyForOwner)$' ./echo/... ./images/... ./internal/... ./vmtest/...
          '';
        }
        // lib.listToAttrs (
          lib.concatMap (imageName: lib.mapAttrsToList (scenario imageName) groups) (
            builtins.attrNames images
          )
        )
      );

      formatter = eachSystem (_: pkgs: pkgs.nixfmt-tree);
    };
}
