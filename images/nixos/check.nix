# Derivations that run Go scenarios in virtual machines, inside a Nix build: no
# network, no Go command, no mmdebstrap. /dev/kvm is used where the builder has it
# (system-features = kvm) and works, and asked for by none: then QEMU emulates.
#
# mkCheck is tests and run together, for other flakes. Its arguments:
#
#   pkgs        nixpkgs for the system of host and guest
#   src         a Go module; its go.mod names the version of systemd-vmtest that this
#               flake is, for host and guest speak with each other
#   vendorHash  as for nixpkgs' buildGoModule
#   package     folder of the scenarios in src; "scenarios"
#   commands    folders of the Go commands in src that scenarios put into guests with
#               InstallGo; none
#   image       an image folder; a NixOS guest
#   run         -test.run, which tests; all
#   name        of the check; "scenarios"
#   timeout     -test.timeout; "30m", for a guest boots in a minute without KVM
#   memory      MiB that the check wants to find free before it starts a guest; 1024
{ self }:
let
  # The test binary, the commands for the guest, and the folder to run it in.
  tests =
    {
      pkgs,
      src,
      vendorHash,
      package ? "scenarios",
      commands ? [ ],
    }:
    pkgs.buildGo126Module {
      pname = "${baseNameOf package}-tests";
      version = "0";
      inherit src vendorHash;
      env.CGO_ENABLED = "0";
      doCheck = false; # it would run them here
      dontFixup = true; # it would change files that tests read
      buildPhase = ''
        go test -c -o scenarios.test ./${package}
        mkdir commands
        for command in ${toString commands}; do
          go build -ldflags='-s -w' -o commands/ "./$command"
        done
      '';
      # What tests read of the module: testdata, unit files.
      installPhase = ''
        mkdir -p $out/bin
        cp scenarios.test $out/bin/
        cp -r commands $out/commands
        cp -r ${src} $out/src
      '';
      passthru = { inherit package; };
    };

  run =
    {
      pkgs,
      tests,
      name ? "scenarios",
      image ? self.packages.${pkgs.stdenv.hostPlatform.system}.image-nixos,
      run ? ".",
      timeout ? "30m",
      memory ? 1024,
    }:
    pkgs.runCommand name
      {
        nativeBuildInputs = [
          pkgs.e2fsprogs
          pkgs.qemu_kvm
        ];
        VMTEST_AGENT = "${self.packages.${pkgs.stdenv.hostPlatform.system}.agent}/bin/agent";
        VMTEST_GO_PREBUILT = "${tests}/commands";
        VMTEST_IMAGE = "${image}";
        inherit run timeout memory;
      }
      ''
        export HOME=$TMPDIR VMTEST_CACHE=$TMPDIR/vmtest
        free=$(($(sed -n 's/^MemAvailable: *\([0-9]*\) kB$/\1/p' /proc/meminfo) / 1024))
        if [ "$free" -lt "$memory" ]; then
          echo "${name}: this builder has $free MiB of memory free, the guests need $memory" >&2
          exit 1
        fi
        cd ${tests}/src/${tests.package}
        set -o pipefail
        if ${tests}/bin/scenarios.test -test.v -test.run "$run" -test.timeout "$timeout" 2>&1 | tee $TMPDIR/log; then
          if ! grep -q '^=== RUN' $TMPDIR/log; then
            echo "${name}: -test.run $run matches no test" >&2
            exit 1
          fi
          mkdir $out
          cp $TMPDIR/log $out/log
          exit 0
        fi
        # The evidence from the guest is long, and of a log Nix shows the last lines:
        # they are which tests failed, and the first assertions without their diffs.
        echo "${name}: failed, by what stands above:"
        grep -E '^ *--- FAIL|^panic:' $TMPDIR/log | head -n 3 || tail -n 5 $TMPDIR/log
        awk '/^ +[a-z0-9_]+\.go:[0-9]+:/ { show = !/^ +evidence\.go:/ }
          /^(===|---)|Diff:/ { show = 0 }
          /^[[:space:]]+Test:/ { show = 1 }
          show' $TMPDIR/log |
          grep -v -E 'Error Trace:|^[[:space:]]+[^ ]+\.go:[0-9]+$' | head -n 6
        exit 1
      '';

  isOfTests = name: builtins.elem name [ "src" "vendorHash" "package" "commands" ];
  pick = wanted: args: removeAttrs args (builtins.filter (name: !wanted name) (builtins.attrNames args));

  mkCheck =
    args:
    run (
      pick (name: !isOfTests name) args
      // {
        tests = tests (pick (name: isOfTests name || name == "pkgs") args);
      }
    );
in
{
  inherit tests run mkCheck;
}
