# nixpkgs' buildGoModule, as far as flake.nix uses it. The Go modules are vendored
# by a fixed-output derivation, as in nixpkgs: when vendorHash is not what go.mod and
# go.sum say, Nix names the right one.
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

  # A fixed-output derivation is built only when its output is not there. Its name
  # changes with what it depends on, so that a hash that is out of date shows.
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
