# The part of nixpkgs' buildGoModule that flake.nix uses. As in nixpkgs, a fixed-output
# derivation vendors the Go modules. If vendorHash does not match go.mod and go.sum,
# Nix prints the right hash.
{
  lib,
  facts,
  runCommand,
  go_1_26,
}:
{
  pname,
  version,
  src,
  vendorHash,
  overrideModAttrs ? (_: { }),
  nativeBuildInputs ? [ ],
  subPackages ? [ ],
  ldflags ? [ ],
  env ? { },
  doCheck ? true,
  buildPhase ? ''
    for package in $subPackages; do
      GOBIN=$out/bin go install ''${ldflags:+-ldflags="$ldflags"} "./$package"
    done
  '',
  checkPhase ? "go test ./...",
  installPhase ? "",
  passthru ? { },
  meta ? { },
  dontFixup ? false,
}:
let
  name = "${pname}-${version}";
  inputs = nativeBuildInputs ++ [ go_1_26 ];
  environment = ''
    export GOCACHE=${facts.goCache} GOPATH=$TMPDIR/go GOTOOLCHAIN=local GOSUMDB=off GOENV=off
  '';
  unpack = ''
    cp -r $src source
    chmod -R u+w source
    cd source
  '';

  # Nix builds a fixed-output derivation only if its output is missing. The name
  # changes with go.mod and go.sum, so that Nix notices an outdated hash.
  goFiles = builtins.hashString "sha256" (
    builtins.readFile "${src}/go.mod" + builtins.readFile "${src}/go.sum"
  );
  modAttrs = overrideModAttrs { };
  goModules =
    runCommand "${modAttrs.name or "${name}-go-modules"}-${builtins.substring 0 12 goFiles}"
      {
        src = modAttrs.src or src;
        nativeBuildInputs = inputs;
        outputHashMode = "recursive";
        outputHashAlgo = "sha256";
        outputHash = vendorHash;
      }
      ''
        ${environment}
        export GOMODCACHE=${facts.goModCache} GOPROXY=${facts.goProxy}
        ${unpack}
        go mod vendor
        cp -r vendor $out
      '';
in
runCommand name
  (
    env
    // {
      inherit src subPackages ldflags passthru;
      nativeBuildInputs = inputs;
    }
  )
  ''
    ${environment}
    export GOPROXY=off GOFLAGS="-mod=vendor -trimpath"
    ${unpack}
    cp -r ${goModules} vendor
    ${buildPhase}
    ${lib.concatStringsSep "\n" (if doCheck then [ checkPhase ] else [ ])}
    ${installPhase}
  ''
