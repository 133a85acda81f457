# Derivations that run Go scenarios in virtual machines inside a Nix build, without
# a network, the go command and mmdebstrap. They use /dev/kvm if the builder has it
# (system-features = kvm) and it works. They do not require it: without it QEMU
# emulates.
#
# mkCheck combines tests and run, for other flakes. Its arguments:
#
#   pkgs        nixpkgs for the system of host and guest
#   src         a Go module; its go.mod must require the version of systemd-vmtest of
#               this flake, because host and guest talk to each other
#   vendorHash  as for nixpkgs' buildGoModule
#   package     directory of the scenarios in src; default "scenarios"
#   commands    directories of the Go commands in src that scenarios install in guests
#               with InstallGo; default none
#   image       image directory; default a NixOS guest
#   run         -test.run; default all tests
#   name        name of the check; default "scenarios"
#   timeout     -test.timeout; default "30m", because a guest takes a minute to boot
#               without KVM
#   memory      free memory that the check requires before it starts, in MiB; default
#               1024
{ self }:
let
  # The test binary, the commands for the guest, and the directory to run it in.
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
      doCheck = false; # would run the tests in this build
      dontFixup = true; # would change files that tests read
      buildPhase = ''
        go test -c -o scenarios.test ./${package}
        mkdir commands
        for command in ${toString commands}; do
          go build -ldflags='-s -w' -o commands/ "./$command"
        done
      '';
      # Tests read testdata and unit files from the module.
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
          echo "${name}: $free MiB of memory are free, the guests need $memory" >&2
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
        # Nix shows only the end of a log, and the evidence from the guest is long. End
        # with the names of the failed tests and the first assertions without diffs.
        echo "${name}: failed; summary of the log above:"
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
